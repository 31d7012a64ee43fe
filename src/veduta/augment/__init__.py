"""Data augmentation: random changes of an image that preserve its class."""
