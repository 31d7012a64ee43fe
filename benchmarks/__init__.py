"""Ratios measured side by side in one run, so that what the machine does falls on all alike."""
