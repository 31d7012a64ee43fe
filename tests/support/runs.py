"""Small runs for tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import veduta
from veduta.results.run import Run
from veduta.tracking.console import Console

QUIET = Console(quiet=True)
SMALL_GRID = {"lr": [3e-3, 1e-2], "dropout": [0.0, 0.3]}
SMALL_SETTINGS: dict[str, Any] = {
    "image_size": 32,
    "epochs": 3,
    "engine": "torch",
    "console": QUIET,
}


def run_small_search(
    data: Path,
    out: Path,
    grid: Mapping[str, Sequence[float]] = SMALL_GRID,
    **settings: object,
) -> Run:
    """Search a grid with few epochs on small images."""
    return veduta.search(data, grid=grid, out=out, **{**SMALL_SETTINGS, **settings})
