"""Prediction and explanation of image files with the model of a run."""
