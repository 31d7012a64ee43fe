"""The package pictures."""
