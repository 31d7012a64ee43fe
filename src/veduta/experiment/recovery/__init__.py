"""The package recovery."""
