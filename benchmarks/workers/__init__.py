"""What `benchmarks.peers` runs: a module a peer, each in an environment of its own."""
