"""Evaluation of a model from its logits: functions of arrays that return metrics and tables."""
