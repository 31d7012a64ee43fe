"""Judging a finished run on labelled images that it never saw: figures, tables, mistakes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from veduta.data.pixels import Image, Rejection
from veduta.data.sample import Folder, Sample
from veduta.errors import InputError
from veduta.evaluation.abstention import MAX_ERROR, compute_risk_coverage_curve
from veduta.evaluation.assessment import (
    LabeledPredictions,
    estimate_metrics,
    summarize_abstention,
    summarize_calibration,
)
from veduta.evaluation.calibration import Temperature, compute_reliability_diagram, softmax
from veduta.evaluation.mistakes import select_confident_errors, tabulate_predictions
from veduta.experiment.judgement import read_splits
from veduta.experiment.record import write_rejected
from veduta.inference.classifier import Classifier
from veduta.metrics.classification import (
    Accuracy,
    compute_confusion_matrix,
    estimate_accuracy,
    estimate_class_metrics,
)
from veduta.results.predict import bounds_of
from veduta.runs.directory import RunDirectory
from veduta.runs.files import expect_room, write_json
from veduta.runs.test_set import fingerprint, record_opening
from veduta.tracking.console import Console
from veduta.tracking.html import facts, ranged, table
from veduta.tracking.tables import write_csv

CLASS_FIGURES = ("precision", "recall", "f1")


@final
@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a classifier does on labelled images.

    Attributes:
        run: whose model it was.
        accuracy: with its interval.
        figures: all other figures by name, as in summary.json.
        calibration: what the model's temperature does here.
        abstain: coverage and error at the threshold for `max_error`.
        tables: by name, each a file: predictions, per_class, areas, reliability, risk_coverage,
            mistakes.
        confusion: rows are the truth.
        samples: the images that could be read.
        rejected: files that could not be read.
        seen: how many images the run trained or chose on.
        tta: over which views of an image the logits were averaged.
        opened_before: how often these labels were used to judge before, on this machine.
        directory: where it was written.
    """

    run: Path
    accuracy: Accuracy
    figures: dict[str, Any]
    calibration: dict[str, Any]
    abstain: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    confusion: pd.DataFrame
    samples: tuple[Sample, ...]
    rejected: tuple[Rejection, ...]
    seen: int
    tta: str
    opened_before: int
    directory: Path | None = None

    @property
    def per_class(self) -> pd.DataFrame:
        """Precision, recall and F1 of each class, with intervals."""
        return self.tables["per_class"]

    @property
    def predictions(self) -> pd.DataFrame:
        """path, truth, label, probability."""
        return self.tables["predictions"]

    @property
    def mistakes(self) -> pd.DataFrame:
        """The images that were got wrong, the most confident first."""
        return self.tables["mistakes"]

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        openings = {"opened": 1, "opened_before": self.opened_before}
        return {
            "command": "evaluate",
            "run": str(self.run),
            "test": {**self.accuracy.as_dict(), "tta": self.tta, **openings},
            "figures": self.figures,
            "calibration": self.calibration,
            "abstain": self.abstain,
            "seen_in_training": self.seen,
            "rejected": len(self.rejected),
        }

    def _repr_html_(self) -> str:
        """The evaluation as a notebook shows it: its number, and the figures of each class."""
        told = {"accuracy": ranged(self.accuracy.as_dict()), "left out": len(self.rejected)}
        rows = [
            (row["class"], row["images"], *(f"{row[name]:.3f}" for name in CLASS_FIGURES))
            for _, row in self.per_class.iterrows()
        ]
        columns = ["class", "images", *CLASS_FIGURES]
        return facts("Evaluation", told) + table(columns, rows, caption="by class")

    def __repr__(self) -> str:
        return f"Evaluation(accuracy {self.accuracy})"


def evaluate(
    classifier: Classifier,
    folder: Folder,
    *,
    cache: Path,
    console: Console,
    max_error: float = MAX_ERROR,
) -> Evaluation:
    """Judge a classifier on the test images of a folder, or on all where it has no test split.

    Args:
        classifier: what is judged.
        folder: labelled images; classes are matched by name.
        cache: where openings of test sets are counted.
        console: shows progress.
        max_error: whose threshold of confidence is judged too.

    Raises:
        InputError: a label that the classifier does not know, or nothing that can be read.
    """
    samples = judged(folder)
    _expect_known(classifier, folder, samples)
    with console.stage("evaluating", "images") as advance:
        scores = classifier.score(samples, advance)
    if not scores.samples:
        raise InputError(f"an evaluation needs images that can be read; none of {len(samples)} can")
    images = [Image(s, digest) for s, digest in zip(scores.samples, scores.digests, strict=True)]
    classes, seen = classifier.classes, seen_by(classifier.source)
    truth = np.array([classes.index(str(s.label)) for s in scores.samples], dtype=np.int64)
    paths = [sample.name for sample in scores.samples]
    at = classifier.manifest.temperature
    found = LabeledPredictions(paths, scores.digests, truth, scores.logits, classes, at)
    seed = classifier.manifest.settings.seed
    figures, areas = estimate_metrics(found, seed=seed)
    table = tabulate_predictions(paths, truth, softmax(scores.logits), classes)
    return Evaluation(
        classifier.source,
        estimate_accuracy(truth, found.y_pred),
        figures,
        summarize_calibration(Temperature(at, 0), found, seed=seed),
        summarize_abstention(bounds_of(classifier), found, max_error=max_error),
        {
            "predictions": table.drop(columns="probability_of_truth"),
            "per_class": estimate_class_metrics(truth, found.y_pred, classes, seed=seed),
            "areas": areas,
            "reliability": compute_reliability_diagram(found.correct, found.confidence),
            "risk_coverage": compute_risk_coverage_curve(found.correct, found.confidence),
            "mistakes": select_confident_errors(table),
        },
        compute_confusion_matrix(truth, found.y_pred, classes),
        scores.samples,
        rejected=scores.rejected,
        seen=len([digest for digest in scores.digests if digest in seen]),
        tta=classifier.manifest.tta,
        opened_before=record_opening(cache, fingerprint(images), f"evaluate {classifier.source}"),
    )


def judged(folder: Folder) -> list[Sample]:
    """The samples that an evaluation is about: the test split where there is one, else all."""
    test = [sample for sample in folder.samples if sample.split == "test"]
    return test or [sample for sample in folder.samples if sample.label is not None]


def seen_by(run: Path) -> set[str]:
    """Digests of the images that a run trained or chose on, as far as they are known."""
    directory = RunDirectory(run.parent if run.name == "model" else run)
    if not directory.splits.is_file():
        return set()
    table = read_splits(directory)
    return set(table.loc[table["split"].isin(["train", "validation"]), "sha256"])


def write_evaluation(directory: RunDirectory, evaluation: Evaluation) -> Evaluation:
    """The tables of an evaluation and summary.json, in its directory."""
    with expect_room(directory.path):
        for name, table in evaluation.tables.items():
            write_csv(getattr(directory, name), table)
        counts = evaluation.confusion.reset_index(names="truth", allow_duplicates=True)
        write_csv(directory.confusion, counts)
        write_rejected(directory, evaluation.rejected)
        write_json(directory.summary, evaluation.summary)
    return replace(evaluation, directory=directory.path)


def _expect_known(classifier: Classifier, folder: Folder, samples: list[Sample]) -> None:
    """There are images, and the classifier knows all of their labels."""
    if not samples:
        raise InputError(f"an evaluation needs labelled images; {folder.root} has none")
    strange = sorted({str(s.label) for s in samples} - set(classifier.classes))
    if strange:
        raise InputError(
            f"labels must be among the model's classes ({', '.join(classifier.classes)}); "
            f"got {', '.join(map(repr, strange))}: rename the folders, or leave them out"
        )
