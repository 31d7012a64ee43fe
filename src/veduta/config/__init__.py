"""What a user may set: one flat name for each thing, in YAML, flags, grids, CSV columns and Python."""
