"""The command line: one module per command, which parses, calls `veduta.api` and prints."""
