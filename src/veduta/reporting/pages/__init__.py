"""The package pages."""
