"""The package trials."""
