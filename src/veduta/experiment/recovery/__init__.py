"""Recover a run from its directory: check that it can be resumed, and rebuild its derived files."""
