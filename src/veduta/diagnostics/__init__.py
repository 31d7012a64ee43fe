"""The package diagnostics."""
