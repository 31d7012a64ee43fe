"""Two runs on the same test images: which is better, and is that more than luck."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.data.sample import some
from veduta.errors import InputError
from veduta.evaluation.assessment import LabeledPredictions
from veduta.experiment.judgement import read_test, seed_of
from veduta.metrics.classification import Accuracy, estimate_accuracy, estimate_averaged_metrics
from veduta.metrics.comparison import compute_mcnemar_p_value, estimate_paired_differences
from veduta.metrics.intervals import Estimate
from veduta.results.run import Run
from veduta.runs.directory import Place, create
from veduta.runs.files import expect_room, write_json
from veduta.tracking.tables import write_csv

LEVEL = 0.05

Labels = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """Two winners, judged on the same images.

    Attributes:
        runs: both directories.
        accuracies: of each.
        macro_f1: of each.
        differences: second less first, by figure, with paired intervals.
        p_value: of McNemar's exact test that both are equally often right.
        counts: of images: both right, only the first, only the second, both wrong.
        changed: a row an image that only one gets right: path, truth, first, second, change.
        directory: where it was written.
    """

    runs: tuple[Path, Path]
    accuracies: tuple[Accuracy, Accuracy]
    macro_f1: tuple[Estimate, Estimate]
    differences: dict[str, Estimate]
    p_value: float
    counts: dict[str, int]
    changed: pd.DataFrame
    directory: Path | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        return {
            "command": "compare",
            "runs": [
                {"run": str(run), "accuracy": found.as_dict(), "macro_f1": f1.as_dict()}
                for run, found, f1 in zip(self.runs, self.accuracies, self.macro_f1, strict=True)
            ],
            "difference": {name: found.as_dict() for name, found in self.differences.items()},
            "mcnemar_p": self.p_value,
            "images": self.counts,
        }

    @property
    def table(self) -> pd.DataFrame:
        """Both runs and their difference, as a person reads them."""
        differences = self.differences["accuracy"], self.differences["macro_f1"]
        return pd.DataFrame(
            {
                "": ["accuracy", "macro F1"],
                "first": [_percent(*self.accuracies[0].with_interval), _of(self.macro_f1[0])],
                "second": [_percent(*self.accuracies[1].with_interval), _of(self.macro_f1[1])],
                "second - first": [_of(found, sign="+") for found in differences],
            }
        )

    @property
    def verdict(self) -> str:
        """What the test says, in words."""
        if self.p_value > LEVEL:
            return "these images do not tell the two apart"
        better = "second" if self.differences["accuracy"].value > 0 else "first"
        return f"the {better} is right more often"

    def __repr__(self) -> str:
        return f"Comparison(difference {self.differences['accuracy']}, p = {self.p_value:.3g})"


def compare_runs(first: Path, second: Path) -> Comparison:
    """Compare the winners of two runs on the test images that both opened.

    Raises:
        InputError: no finished run with a test score, or the test images differ.
    """
    runs = Run(first), Run(second)
    one, other = (_test_of(run) for run in runs)
    if fault := _difference(one, other):
        raise InputError(fault)
    names = tuple(sorted({*one.classes, *other.classes}))
    truth, before = _labels(one, names)
    order = _order(one, other)
    after = _labels(other, names)[1][order]
    seed, classes = seed_of(runs[0].directory), len(names)
    found = (
        estimate_averaged_metrics(truth, predicted, classes=classes, seed=seed)
        for predicted in (before, after)
    )
    hits = before == truth, after == truth
    table = pd.DataFrame(
        {
            "path": one.paths,
            "truth": np.array(names, dtype=object)[truth],
            "first": np.array(names, dtype=object)[before],
            "second": np.array(names, dtype=object)[after],
            "change": np.where(hits[1], "gained", "lost"),
        }
    )
    first_f1, second_f1 = (figures["macro_f1"] for figures in found)
    return Comparison(
        (first, second),
        (estimate_accuracy(truth, before), estimate_accuracy(truth, after)),
        (first_f1, second_f1),
        estimate_paired_differences(truth, before, after, classes=classes, seed=seed),
        compute_mcnemar_p_value(*hits),
        {
            "both_right": int((hits[0] & hits[1]).sum()),
            "only_first": int((hits[0] & ~hits[1]).sum()),
            "only_second": int((~hits[0] & hits[1]).sum()),
            "both_wrong": int((~hits[0] & ~hits[1]).sum()),
        },
        table[hits[0] != hits[1]].sort_values(
            ["change", "truth", "path"], kind="stable", ignore_index=True
        ),
    )


def write_comparison(place: Place, comparison: Comparison) -> Comparison:
    """changed.csv and summary.json in a new directory."""
    directory = create(place)
    with expect_room(directory.path):
        write_csv(directory.changed, comparison.changed)
        write_json(directory.summary, comparison.summary)
    return replace(comparison, directory=directory.path)


def _test_of(run: Run) -> LabeledPredictions:
    if not run.summary["test"]["images"]:
        raise InputError(
            f"a comparison needs two runs with a test score; {run.directory.path} has none, as no "
            "test image could be read: run it again on images that can be"
        )
    return read_test(run.directory, tuple(run.summary["classes"]))


def _keys(judged: LabeledPredictions) -> list[tuple[str, str, str]]:
    """What an image is known by: path, content, label."""
    labels = [judged.classes[place] for place in judged.y_true]
    return list(zip(judged.paths, judged.digests, labels, strict=True))


def _difference(one: LabeledPredictions, other: LabeledPredictions) -> str | None:
    """How the test images of two runs differ, as a fault; None where they do not."""
    first, second = _keys(one), _keys(other)
    paths = dict(zip(one.paths, first, strict=True))
    both = [key for key in second if key[0] in paths]
    alone = {key[0] for key in second}
    kinds = {
        "in the first alone": [path for path in paths if path not in alone],
        "in the second alone": [key[0] for key in second if key[0] not in paths],
        "with other content": [key[0] for key in both if paths[key[0]][1] != key[1]],
        "with another label": [key[0] for key in both if paths[key[0]][2] != key[2]],
    }
    told = [f"{len(found)} {kind} ({some(found)})" for kind, found in kinds.items() if found]
    if not told:
        return None
    return (
        f"two runs are compared on the same test images; of {len(first)} and {len(second)} there "
        f"are {', '.join(told)}: give both runs the same data and seed, or a test split of its own"
    )


def _order(one: LabeledPredictions, other: LabeledPredictions) -> NDArray[np.intp]:
    """Where each image of the first stands in the second."""
    where = {path: place for place, path in enumerate(other.paths)}
    return np.array([where[path] for path in one.paths], dtype=np.intp)


def _labels(judged: LabeledPredictions, names: tuple[str, ...]) -> tuple[Labels, Labels]:
    """Truth and predictions as numbers of `names`."""
    to = np.array([names.index(name) for name in judged.classes], dtype=np.int64)
    return to[judged.y_true], to[judged.y_pred]


def _of(figure: Estimate, *, sign: str = "") -> str:
    return _percent(figure.value, figure.low, figure.high, sign=sign)


def _percent(value: float, low: float, high: float, *, sign: str = "") -> str:
    shown = f"{{:{sign}.1f}} ({{:{sign}.1f}} to {{:{sign}.1f}}) %"
    return shown.format(100 * value, 100 * low, 100 * high)
