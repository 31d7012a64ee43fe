"""Recipes by name, and what a user gave beside them: command line first, then file, then recipe."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from veduta.config.parsing import read_file, unknown
from veduta.errors import InputError

FOLDER, SUFFIX = files("veduta.config") / "preset_files", ".yaml"


def recipes() -> list[str]:
    """The names of all recipes.

    >>> recipes()
    ['report']
    """
    found = [path.name for path in FOLDER.iterdir() if path.name.endswith(SUFFIX)]
    return sorted(name.removesuffix(SUFFIX) for name in found)


def read_recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe, `grid` among them.

    Raises:
        InputError: there is none of that name.
    """
    if name not in recipes():
        raise InputError(unknown("recipe", name, recipes()))
    with as_file(FOLDER / f"{name}{SUFFIX}") as path:
        return read_file(path)


def together(
    settings: Mapping[str, Any],
    grid: Mapping[str, Any],
    *,
    config: str | Path | None,
    recipe: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and grid: what is given here, then those of a file, then those of a recipe.

    A name stands on one side only: given as a setting it is none of the grid of a file, and the
    other way round.

    Raises:
        InputError: file or recipe cannot be read.
    """
    values, merged = dict(settings), dict(grid)
    filed = [read_file(Path(config))] if config is not None else []
    filed += [read_recipe(recipe)] if recipe is not None else []
    for content in filed:
        more = content.pop("grid", {})
        known = {*values, *merged}
        values |= {name: value for name, value in content.items() if name not in known}
        merged |= {name: value for name, value in more.items() if name not in known}
    return values, merged
