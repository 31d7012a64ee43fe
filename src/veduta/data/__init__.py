"""From the user's files to arrays: layouts, decoding, splits, and a cache of rows by content."""
