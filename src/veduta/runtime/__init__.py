"""Access to the machine: environment, memory, file system, signals, locks and random numbers."""
