"""How weights move: optimisers by name."""
