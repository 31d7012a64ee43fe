"""The record of a run on disk: directory, journal, tables, scores, test set, model."""
