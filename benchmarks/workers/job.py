"""Job and answer of a tool, exchanged as files because it runs in a separate environment.

Only the standard library and NumPy are imported here, which every environment contains.
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

SPLITS = ("train", "validation", "test")
Part = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Job:
    """The job, which is the same for all tools.

    Attributes:
        images: (path, class index) by split; the splits are those of Veduta.
        grid: values by name, `lr` and `weight_decay`; every combination is a trial.
        weights: safetensors file with the tensors of the backbone under timm's names.
        features: npz file with features of Veduta: `train`, `train_labels` and so on.
        threads: number of threads that a tool may use.
        loops: number of trials to run if all take too long; the others are extrapolated.
        some: number of images of an epoch to run if all take too long.
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

    def list_trials(self) -> list[dict[str, float]]:
        """Return every cell of the grid."""
        return [dict(zip(self.grid, cell, strict=True)) for cell in product(*self.grid.values())]

    def load_features(self) -> dict[str, Part]:
        """Return features of Veduta (N, D) and labels (N,) by split."""
        with np.load(self.features) as arrays:
            return {split: (arrays[split], arrays[f"{split}_labels"]) for split in SPLITS}


@dataclass
class Answer:
    """Result of a tool.

    Attributes:
        validation, test: accuracy of the selected trial; None if none was trained to its end.
        chosen: the selected trial, in words.
        added: extrapolated seconds, to be added to the measured ones.
        note: remarks, such as what was extrapolated.
        versions: of the libraries.
        seconds: by stage, including extrapolated ones.
    """

    validation: float | None = None
    test: float | None = None
    chosen: str = ""
    added: float = 0.0
    note: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Clock:
    """Measures the seconds of consecutive stages."""

    def __init__(self) -> None:
        self._last = perf_counter()

    def __call__(self) -> float:
        """Return the seconds since the last call."""
        before, self._last = self._last, perf_counter()
        return self._last - before


def run_method(methods: Mapping[str, Callable[[Job], Answer]]) -> None:
    """Run the method of the command line: `python -m MODULE METHOD JOB ANSWER`."""
    method, job_path, answer_path = sys.argv[1:]
    job: dict[str, Any] = json.loads(Path(job_path).read_text())
    answer = methods[method](Job(**job))
    Path(answer_path).write_text(json.dumps(asdict(answer)))
