"""The package figures."""
