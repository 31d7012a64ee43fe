"""Applying a finished run to images without labels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from veduta.data.pixels import Rejection
from veduta.data.sample import Sample
from veduta.errors import InputError
from veduta.experiment.abstaining import Abstention, abstention
from veduta.experiment.records import write_rejected
from veduta.inference.classifier import Classifier, Scores
from veduta.runs.directory import Place, create
from veduta.runs.files import expect_room, write_json
from veduta.tracking.console import Console
from veduta.tracking.tables import write_csv


@dataclass(frozen=True, slots=True)
class Predictions:
    """The most probable labels of images, and the files that could not be read."""

    run: Path  # whose model it was
    table: pd.DataFrame  # path, label, probability, label_2, probability_2, ...
    rejected: tuple[Rejection, ...]
    abstention: Abstention | None = None  # where `confidence` and `abstained` are columns too
    directory: Path | None = None  # where they were written

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        counts = self.table["label"].value_counts()
        found = {
            "command": "predict",
            "run": str(self.run),
            "images": len(self.table),
            "rejected": len(self.rejected),
            "labels": {str(label): int(count) for label, count in counts.items()},
        }
        if self.abstention is None:
            return found
        return {**found, **asdict(self.abstention), "abstained": int(self.table["abstained"].sum())}


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
    classifier: Classifier,
    samples: Sequence[Sample],
    *,
    top_k: int,
    console: Console,
    max_error: float | None = None,
) -> Predictions:
    """Label images.

    Args:
        classifier: labels them.
        samples: the images; one that stands there twice has two rows.
        top_k: how many labels an image.
        console: shows progress.
        max_error: the error that shall be left among images that are not `abstained`; the table
            then has `confidence`, the calibrated probability of the label, and `abstained`.

    Raises:
        InputError: `top_k` is not between 1 and the number of classes, or no threshold of
            confidence promises `max_error`.
    """
    if not 1 <= top_k <= len(classifier.classes):
        raise InputError(
            f"top_k must be from 1 to {len(classifier.classes)}, the number of classes; got {top_k}"
        )
    found = abstention(classifier, max_error)
    with console.stage("predicting", "images") as advance:
        scores = classifier.score(samples, advance)
    table = top(scores, classifier.classes, top_k)
    if found is not None:
        table["confidence"] = found.confidence(scores.logits)
        table["abstained"] = found.abstained(scores.logits)
    return Predictions(classifier.source, table, scores.rejected, found)


def write_predictions(place: Place, predictions: Predictions) -> Predictions:
    """predictions.csv, rejected.csv and summary.json in a new directory."""
    directory = create(place)
    with expect_room(directory.path):
        write_csv(directory.predictions, predictions.table)
        write_rejected(directory, predictions.rejected)
        write_json(directory.summary, predictions.summary)
    return replace(predictions, directory=directory.path)
