"""The package networks."""
