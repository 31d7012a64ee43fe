"""Frozen features: the backbone's output for each image, computed once and kept."""
