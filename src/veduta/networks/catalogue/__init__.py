"""The catalogue of models: descriptions, built-in networks, and the registry of names."""
