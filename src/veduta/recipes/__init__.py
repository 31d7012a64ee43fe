"""Recipes: settings and grids under a name, as YAML files that `--config` would take too."""
