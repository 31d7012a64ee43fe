"""Optimizers, learning-rate schedules, penalties and weight averages."""
