"""The package tuning."""
