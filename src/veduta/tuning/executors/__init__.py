"""Executors: they train the trials of a tile and yield the results of each epoch."""
