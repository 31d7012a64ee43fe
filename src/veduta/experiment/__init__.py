"""Carry out a plan, from configuration to model and report. The file to read first is `run.py`."""
