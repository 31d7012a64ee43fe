"""Finished runs: load a run or its model; predict, evaluate, compare and explain."""
