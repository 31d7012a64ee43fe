"""The package fused."""
