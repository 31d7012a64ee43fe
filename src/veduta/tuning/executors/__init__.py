"""The package executors."""
