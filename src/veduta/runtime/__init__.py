"""The machine underneath: environment, process settings, randomness. The only readers of both."""
