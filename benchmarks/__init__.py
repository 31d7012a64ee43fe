"""Ratios measured alternately in one run, so that other load affects all measurements equally."""
