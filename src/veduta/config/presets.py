"""Named presets, and merging of settings: flags override the file, which overrides the preset."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from veduta.config.parsing import read_file
from veduta.errors import InputError, describe_unknown_name

FOLDER, SUFFIX = files("veduta.config") / "preset_files", ".yaml"


def list_presets() -> list[str]:
    """Return the names of all presets.

    >>> list_presets()
    ['report']
    """
    names = [path.name for path in FOLDER.iterdir() if path.name.endswith(SUFFIX)]
    return sorted(name.removesuffix(SUFFIX) for name in names)


def read_preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset, including `grid`.

    Raises:
        InputError: there is no preset of that name.
    """
    if name not in list_presets():
        raise InputError(describe_unknown_name("preset", name, list_presets()))
    with as_file(FOLDER / f"{name}{SUFFIX}") as path:
        return read_file(path)


def merge_settings(
    settings: Mapping[str, Any],
    grid: Mapping[str, Any],
    *,
    config: str | Path | None,
    preset: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Merge the given settings and grid with those of a file, then with those of a preset.

    A name is either a setting or a dimension of the grid: a given setting also replaces a dimension
    of that name in a file or preset, and vice versa.

    Raises:
        InputError: the file or the preset cannot be read.
    """
    merged_settings, merged_grid = dict(settings), dict(grid)
    sources = [read_file(Path(config))] if config is not None else []
    sources += [read_preset(preset)] if preset is not None else []
    for source in sources:
        source_grid = source.pop("grid", {})
        known = {*merged_settings, *merged_grid}
        merged_settings |= {name: value for name, value in source.items() if name not in known}
        merged_grid |= {name: value for name, value in source_grid.items() if name not in known}
    return merged_settings, merged_grid
