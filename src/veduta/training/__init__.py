"""Training: examples, loss, a single step, the loop over epochs, and folds."""
