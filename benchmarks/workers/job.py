"""What a peer is given and what it answers: files, since it runs in an environment of its own.

Only the standard library and NumPy are imported here: every environment has them.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "validation", "test")
Part = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Job:
    """The same job for everyone.

    Attributes:
        images: (path, number of its class) by part; the split is Veduta's.
        grid: values by name, `lr` and `weight_decay`; every combination is a trial.
        weights: safetensors, the backbone's tensors under timm's names.
        features: npz, Veduta's frozen features: `train`, `train_labels` and so on.
        threads: how many processors a peer may use.
        loops: how many trials are run where not all of them can be; the rest is extrapolated.
        some: images of an epoch that are run where not all of them can be.
    """

    images: Mapping[str, list[tuple[str, int]]]
    classes: int
    image_size: int
    batch_size: int
    epochs: int
    grid: Mapping[str, list[float]]
    weights: str
    features: str
    threads: int
    loops: int
    some: int

    def trials(self) -> list[dict[str, float]]:
        """Every cell of the grid."""
        return [dict(zip(self.grid, cell, strict=True)) for cell in product(*self.grid.values())]

    def ours(self) -> dict[str, Part]:
        """Veduta's features (N, D) and labels (N,) by part."""
        with np.load(self.features) as found:
            return {part: (found[part], found[f"{part}_labels"]) for part in PARTS}


@dataclass
class Answer:
    """What a peer found.

    Attributes:
        validation, test: accuracy of the chosen trial; None where none was trained to its end.
        chosen: the chosen trial, in words.
        added: seconds that were not run: extrapolated and to be added to those of the clock.
        note: what the reader must know, first of all what was extrapolated.
        versions: of the libraries.
        seconds: by stage, extrapolated where `added` says so.
    """

    validation: float | None = None
    test: float | None = None
    chosen: str = ""
    added: float = 0.0
    note: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Clock:
    """Seconds since the last stage ended."""

    def __init__(self) -> None:
        self._last = perf_counter()

    def __call__(self) -> float:
        """Seconds since the last call."""
        before, self._last = self._last, perf_counter()
        return self._last - before


def serve(ways: Mapping[str, Callable[[Job], Answer]]) -> None:
    """Run one way: `python -m MODULE WAY JOB ANSWER`."""
    way, given, answer = sys.argv[1:]
    told: dict[str, Any] = json.loads(Path(given).read_text())
    found = ways[way](Job(**told))
    Path(answer).write_text(json.dumps(asdict(found)))
