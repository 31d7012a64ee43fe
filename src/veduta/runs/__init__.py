"""What a run leaves behind: directory, journal, model. Crash-proof, never overwritten."""
