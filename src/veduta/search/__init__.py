"""The search: from a grid to trials, from trials to outcomes, from outcomes to a winner."""
