"""Diagnostics before a run: inspection, preview, learning-rate range test, lists of what exists."""
