"""Applying a finished run: to images without labels, and to labelled ones that it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from veduta.data.pixels import Image, Rejection
from veduta.data.sample import Folder, Sample
from veduta.errors import InputError
from veduta.experiment.records import write_rejected
from veduta.experiment.sealed import fingerprint, record_opening
from veduta.inference.classifier import Classifier, Scores
from veduta.metrics.classification import Accuracy, accuracy, confusion, per_class
from veduta.runs.directory import Place, RunDirectory, create
from veduta.runs.files import expect_room, write_json
from veduta.tracking.console import Console
from veduta.tracking.tables import write_csv


@dataclass(frozen=True, slots=True)
class Predictions:
    """The most probable labels of images, and the files that could not be read."""

    run: Path  # whose model it was
    table: pd.DataFrame  # path, label, probability, label_2, probability_2, ...
    rejected: tuple[Rejection, ...]
    directory: Path | None = None  # where they were written

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        counts = self.table["label"].value_counts()
        return {
            "command": "predict",
            "run": str(self.run),
            "images": len(self.table),
            "rejected": len(self.rejected),
            "labels": {str(label): int(count) for label, count in counts.items()},
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a classifier does on labelled images."""

    run: Path  # whose model it was
    accuracy: Accuracy
    per_class: pd.DataFrame
    confusion: pd.DataFrame  # rows are the truth
    predictions: pd.DataFrame  # path, truth, label, probability
    rejected: tuple[Rejection, ...]
    seen: int  # images that the run trained or chose on
    tta: str  # over which views of an image the logits were averaged
    opened_before: int  # how often these labels were used to judge before, on this machine
    directory: Path | None = None  # where it was written

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        openings = {"opened": 1, "opened_before": self.opened_before}
        return {
            "command": "evaluate",
            "run": str(self.run),
            "test": {**self.accuracy.as_dict(), "tta": self.tta, **openings},
            "seen_in_training": self.seen,
            "rejected": len(self.rejected),
        }

    def __repr__(self) -> str:
        return f"Evaluation(accuracy {self.accuracy})"


def top(scores: Scores, classes: Sequence[str], top_k: int) -> pd.DataFrame:
    """The `top_k` most probable labels of each image, best first, with their probabilities."""
    order = np.argsort(-scores.probabilities, axis=1, kind="stable")[:, :top_k]
    columns: dict[str, Any] = {"path": [sample.name for sample in scores.samples]}
    rows = np.arange(len(order))
    for place in range(order.shape[1]):
        suffix = f"_{place + 1}" if place else ""
        chosen = order[:, place]
        columns[f"label{suffix}"] = [classes[index] for index in chosen]
        columns[f"probability{suffix}"] = scores.probabilities[rows, chosen].astype(float)
    return pd.DataFrame(columns)


def predict(
    classifier: Classifier, samples: Sequence[Sample], *, top_k: int, console: Console
) -> Predictions:
    """Label images.

    Raises:
        InputError: `top_k` is not between 1 and the number of classes.
    """
    if not 1 <= top_k <= len(classifier.classes):
        raise InputError(
            f"top_k must be from 1 to {len(classifier.classes)}, the number of classes; got {top_k}"
        )
    with console.stage("predicting", "images") as advance:
        scores = classifier.score(samples, advance)
    return Predictions(classifier.source, top(scores, classifier.classes, top_k), scores.rejected)


def evaluate(
    classifier: Classifier, folder: Folder, *, cache: Path, console: Console
) -> Evaluation:
    """Judge a classifier on the test images of a folder, or on all where it has no test split.

    Args:
        classifier: what is judged.
        folder: labelled images; classes are matched by name.
        cache: where openings of test sets are counted.
        console: shows progress.

    Raises:
        InputError: a label that the classifier does not know, or nothing that can be read.
    """
    samples = judged(folder)
    if not samples:
        raise InputError(f"an evaluation needs labelled images; {folder.root} has none")
    strange = sorted({str(s.label) for s in samples} - set(classifier.classes))
    if strange:
        raise InputError(
            f"labels must be among the model's classes ({', '.join(classifier.classes)}); "
            f"got {', '.join(map(repr, strange))}: rename the folders, or leave them out"
        )
    with console.stage("evaluating", "images") as advance:
        scores = classifier.score(samples, advance)
    if not scores.samples:
        raise InputError(f"an evaluation needs images that can be read; none of {len(samples)} can")
    images = [Image(s, digest) for s, digest in zip(scores.samples, scores.digests, strict=True)]
    truth = np.array([classifier.classes.index(str(s.label)) for s in scores.samples])
    found = scores.probabilities.argmax(1)
    seen = seen_by(classifier.source)
    table = top(scores, classifier.classes, 1)
    table.insert(1, "truth", [str(s.label) for s in scores.samples])
    return Evaluation(
        classifier.source,
        accuracy(truth, found),
        per_class(truth, found, classifier.classes),
        confusion(truth, found, classifier.classes),
        table,
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
    splits = RunDirectory(run.parent if run.name == "model" else run).splits
    if not splits.is_file():
        return set()
    table = pd.read_csv(splits, dtype=str, keep_default_na=False)
    return set(table.loc[table["split"].isin(["train", "validation"]), "sha256"])


def write_predictions(place: Place, predictions: Predictions) -> Predictions:
    """predictions.csv, rejected.csv and summary.json in a new directory."""
    directory = create(place)
    with expect_room(directory.path):
        write_csv(directory.predictions, predictions.table)
        write_rejected(directory, predictions.rejected)
        write_json(directory.summary, predictions.summary)
    return replace(predictions, directory=directory.path)


def write_evaluation(place: Place, evaluation: Evaluation) -> Evaluation:
    """The tables of an evaluation and summary.json, in a new directory."""
    directory = create(place)
    with expect_room(directory.path):
        write_csv(directory.predictions, evaluation.predictions)
        write_csv(directory.per_class, evaluation.per_class)
        write_csv(directory.confusion, evaluation.confusion.reset_index(names="truth"))
        write_rejected(directory, evaluation.rejected)
        write_json(directory.summary, evaluation.summary)
    return replace(evaluation, directory=directory.path)
