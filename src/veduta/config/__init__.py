"""What a user may set: one flat name a thing, in YAML, flags, grids, CSV columns and Python."""
