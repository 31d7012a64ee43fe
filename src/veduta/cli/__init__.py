"""The command line: one file a command, each of which parses, calls `veduta.api`, and prints."""
