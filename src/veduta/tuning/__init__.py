"""Hyperparameter search: trials, their executors, and the study that trains them."""
