"""Settings of a run: one name each, the same in YAML, flags, grids, CSV columns and Python."""
