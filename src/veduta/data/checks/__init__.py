"""The package checks."""
