"""Data checks: find unreadable files, duplicates, leaks, conflicting labels and unusual images."""
