"""The package reporting."""
