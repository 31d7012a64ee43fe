"""Metrics of classifiers with confidence intervals: pure functions of arrays."""
