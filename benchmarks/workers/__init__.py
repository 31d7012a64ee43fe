"""Workers of `benchmarks.peers`: one module per tool, each for an environment of its own."""
