"""One run from configuration to artefact. `run.py` is the file to read first."""
