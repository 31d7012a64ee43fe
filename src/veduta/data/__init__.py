"""Data: find, check, decode, split and cache images."""
