"""Prediction: the model of an artefact, applied to files."""
