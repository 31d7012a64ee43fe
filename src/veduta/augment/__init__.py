"""Augmentation: other views of an image that show the same thing."""
