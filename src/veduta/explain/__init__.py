"""Explanation: where in an image a network finds what it says, and what its layers make of it."""
