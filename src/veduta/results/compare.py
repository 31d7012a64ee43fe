"""Compare two runs on the same test images and test whether they differ significantly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from veduta.data.sample import abbreviate_names
from veduta.errors import InputError
from veduta.evaluation.assessment import LabeledPredictions, record_estimate
from veduta.evaluation.winner_assessment import load_seed, load_test_predictions
from veduta.metrics.classification import Accuracy, estimate_accuracy, estimate_averaged_metrics
from veduta.metrics.comparison import compute_mcnemar_p_value, estimate_paired_differences
from veduta.metrics.intervals import Estimate
from veduta.results.run import Run
from veduta.runs.directory import (
    RUNS_FOLDER,
    RunDirectory,
    choose_output_path,
    create_run_directory,
    read_and_check_output,
)
from veduta.runs.summary import Agreement, ComparedRun, ComparisonSummary, write_summary
from veduta.runs.tables import write_table
from veduta.runtime.disk import explain_write_errors
from veduta.types import BoolArray, IndexArray, IntArray

SIGNIFICANCE_LEVEL = 0.05


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """The winners of two runs, evaluated on the same test images.

    Attributes:
        runs: both run directories.
        accuracies: accuracy of each run.
        macro_f1: macro F1 of each run.
        differences: second minus first, by metric, with paired intervals.
        p_value: p-value of McNemar's exact test of equal accuracy.
        agreement: number of images for which both runs, only one, or neither is correct.
        changed: columns path, y_true, first, second and change; one row per image for which
            exactly one run is correct.
        directory: directory of the comparison; None if it was not written.
    """

    runs: tuple[Path, Path]
    accuracies: tuple[Accuracy, Accuracy]
    macro_f1: tuple[Estimate, Estimate]
    differences: dict[str, Estimate]
    p_value: float
    agreement: Agreement
    changed: pd.DataFrame
    directory: Path | None = None

    @property
    def summary(self) -> ComparisonSummary:
        """The content of summary.json."""
        first, second = (
            ComparedRun(
                run=str(run), accuracy=record_estimate(accuracy), macro_f1=record_estimate(f1)
            )
            for run, accuracy, f1 in zip(self.runs, self.accuracies, self.macro_f1, strict=True)
        )
        return ComparisonSummary(
            runs=(first, second),
            differences={name: record_estimate(one) for name, one in self.differences.items()},
            mcnemar_p_value=self.p_value,
            images=self.agreement,
        )

    @property
    def table(self) -> pd.DataFrame:
        """Metrics of both runs and their difference, in percent with 95 % intervals."""
        differences = self.differences["accuracy"], self.differences["macro_f1"]
        return pd.DataFrame(
            {
                "": ["accuracy", "macro F1"],
                "first": [_format_percent(self.accuracies[0]), _format_percent(self.macro_f1[0])],
                "second": [_format_percent(self.accuracies[1]), _format_percent(self.macro_f1[1])],
                "second - first": [_format_percent(one, sign="+") for one in differences],
            }
        )

    @property
    def conclusion(self) -> str:
        """The conclusion of McNemar's test, in words."""
        if self.p_value > SIGNIFICANCE_LEVEL:
            return "the two runs do not differ significantly on these images"
        better = "second" if self.differences["accuracy"].value > 0 else "first"
        return f"the {better} run is significantly more accurate"

    def __repr__(self) -> str:
        return f"Comparison(difference {self.differences['accuracy']}, p = {self.p_value:.3g})"


def run_comparison(first: Path, second: Path, *, out: str | Path | None) -> Comparison:
    """Compare two runs; with `out`, write the comparison to that new directory."""
    if out is None:
        return compare_runs(first, second)
    output = choose_output_path(out, RUNS_FOLDER, "compare")
    comparison = read_and_check_output(output, lambda: compare_runs(first, second))
    directory = create_run_directory(output)
    _write_comparison(directory, comparison)
    return replace(comparison, directory=directory.path)


def compare_runs(first: Path, second: Path) -> Comparison:
    """Compare the winners of two runs on the test images that both evaluated.

    Raises:
        InputError: a run is not finished or has no test score, or the test images differ.
    """
    runs = Run(first), Run(second)
    one, other = (_load_test_predictions(run) for run in runs)
    if error := _describe_differences(one, other):
        raise InputError(error)
    names = sorted({*one.classes, *other.classes})
    y_true = _map_labels(one.y_true, one.classes, names)
    y_pred = (
        _map_labels(one.y_pred, one.classes, names),
        _map_labels(other.y_pred[_find_matching_rows(one, other)], other.classes, names),
    )
    correct = y_pred[0] == y_true, y_pred[1] == y_true
    seed, classes = load_seed(runs[0].directory), len(names)
    averages = [
        estimate_averaged_metrics(y_true, labels, classes=classes, seed=seed) for labels in y_pred
    ]
    label = np.array(names, dtype=object)
    table = pd.DataFrame(
        {
            "path": one.paths,
            "y_true": label[y_true],
            "first": label[y_pred[0]],
            "second": label[y_pred[1]],
            "change": np.where(correct[1], "gained", "lost"),
        }
    )
    return Comparison(
        (first, second),
        (estimate_accuracy(y_true, y_pred[0]), estimate_accuracy(y_true, y_pred[1])),
        (averages[0]["macro_f1"], averages[1]["macro_f1"]),
        estimate_paired_differences(y_true, *y_pred, classes=classes, seed=seed),
        compute_mcnemar_p_value(*correct),
        _count_agreement(*correct),
        table[correct[0] != correct[1]].sort_values(
            ["change", "y_true", "path"], kind="stable", ignore_index=True
        ),
    )


def _write_comparison(directory: RunDirectory, comparison: Comparison) -> None:
    """Write changed.csv and summary.json."""
    with explain_write_errors(directory.path):
        write_table(directory.changed, comparison.changed)
        write_summary(directory.summary, comparison.summary)


def _load_test_predictions(run: Run) -> LabeledPredictions:
    """Return the predictions of a run on the test images.

    Raises:
        InputError: the run has no test score.
    """
    if not run.summary.test.accuracy.images:
        raise InputError(
            f"a comparison needs two runs with a test score; {run.directory.path} has none, "
            "because no test image can be decoded: run it again with images that can"
        )
    return load_test_predictions(run.directory, run.summary.data.classes)


def _count_agreement(first: BoolArray, second: BoolArray) -> Agreement:
    """Count the images for which both runs, only one, or neither is correct."""
    return Agreement(
        both_correct=int((first & second).sum()),
        only_first_correct=int((first & ~second).sum()),
        only_second_correct=int((~first & second).sum()),
        both_wrong=int((~first & ~second).sum()),
    )


def _describe_differences(first: LabeledPredictions, second: LabeledPredictions) -> str | None:
    """Return an error message if the test images of two runs differ; None if they are the same."""
    first_images, second_images = _describe_images(first), _describe_images(second)
    common = [path for path in second_images if path in first_images]
    differences = {
        "in the first alone": [path for path in first_images if path not in second_images],
        "in the second alone": [path for path in second_images if path not in first_images],
        "with other content": [
            path for path in common if first_images[path][0] != second_images[path][0]
        ],
        "with another label": [
            path for path in common if first_images[path][1] != second_images[path][1]
        ],
    }
    parts = [
        f"{len(paths)} {what} ({abbreviate_names(paths)})"
        for what, paths in differences.items()
        if paths
    ]
    if not parts:
        return None
    return (
        f"two runs can be compared on the same test images only; of {len(first.paths)} and "
        f"{len(second.paths)} there are {', '.join(parts)}: give both runs the same data and seed, "
        "or a test split of its own"
    )


def _describe_images(predictions: LabeledPredictions) -> dict[str, tuple[str, str]]:
    """Return digest and label of each image, by path."""
    labels = [predictions.classes[index] for index in predictions.y_true]
    images = zip(predictions.paths, predictions.digests, labels, strict=True)
    return {path: (digest, label) for path, digest, label in images}


def _find_matching_rows(first: LabeledPredictions, second: LabeledPredictions) -> IndexArray:
    """Return the row in the second run of each image of the first, (N,)."""
    row_by_path = {path: row for row, path in enumerate(second.paths)}
    return np.array([row_by_path[path] for path in first.paths], dtype=np.intp)


def _map_labels(labels: IntArray, classes: Sequence[str], names: Sequence[str]) -> IntArray:
    """Return labels, which are indices of `classes`, as indices of `names`, (N,)."""
    positions = np.array([names.index(name) for name in classes], dtype=np.int64)
    mapped: IntArray = positions[labels]
    return mapped


def _format_percent(estimate: Estimate | Accuracy, *, sign: str = "") -> str:
    """Format an estimate with its interval in percent."""
    numbers = (estimate.value, estimate.low, estimate.high)
    value, low, high = (f"{100 * number:{sign}.1f}" for number in numbers)
    return f"{value} ({low} to {high}) %"
