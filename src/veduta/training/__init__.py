"""Training: what it works on, one step, the loop over epochs, and when to stop."""
