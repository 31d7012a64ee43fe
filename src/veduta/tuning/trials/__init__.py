"""Trials: hyperparameters, tiles, training history, checkpoints and selection."""
