"""The gate: every file is decoded once, and whatever is wrong with the data is said."""
