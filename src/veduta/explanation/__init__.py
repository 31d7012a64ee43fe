"""The package explanation."""
