"""Predict the labels of images with the model of a run, and abstain where it is not confident."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.data.pixels import Rejection
from veduta.data.sample import Sample
from veduta.errors import InputError
from veduta.evaluation.abstention import ThresholdBound, explain_missing_threshold, find_threshold
from veduta.evaluation.calibration import softmax
from veduta.experiment.record import write_rejected
from veduta.inference.classifier import Classifier, Scores
from veduta.runs.directory import Place, create
from veduta.runs.files import expect_room, write_json
from veduta.tracking.console import Console
from veduta.tracking.tables import write_csv
from veduta.types import FloatArray


@final
@dataclass(frozen=True, slots=True)
class Abstention:
    """Which images are left to a person.

    Attributes:
        max_error: that was asked for.
        threshold: of confidence, the calibrated probability of the label.
        temperature: what logits are divided by before softmax.
    """

    max_error: float
    threshold: float
    temperature: float

    def confidence(self, logits: NDArray[Any]) -> FloatArray:
        """The calibrated probability of the label of each image, (N,)."""
        found: FloatArray = softmax(logits, self.temperature).max(1, initial=0.0)
        return found

    def abstained(self, logits: NDArray[Any]) -> NDArray[np.bool_]:
        """Which images are left to a person, (N,)."""
        found: NDArray[np.bool_] = self.confidence(logits) < self.threshold
        return found


def bounds_of(classifier: Classifier) -> tuple[ThresholdBound, ...]:
    """What each threshold accepted on validation, as the manifest of the model says."""
    return tuple(ThresholdBound(**bound.model_dump()) for bound in classifier.manifest.error_bounds)


def abstention(classifier: Classifier, max_error: float | None) -> Abstention | None:
    """The threshold for an error of at most `max_error`; None where none is asked for.

    Raises:
        InputError: `max_error` is no share, or validation has shown no such error.
    """
    if max_error is None:
        return None
    if not 0 < max_error < 1:
        raise InputError(f"max_error must be a share between 0 and 1, like 0.02; got {max_error:g}")
    bounds = bounds_of(classifier)
    if not bounds:
        raise InputError(
            f"max_error needs a model that says what it errs by; {classifier.source} was trained "
            "by a version that did not write it: train it again, or leave max_error out"
        )
    found = find_threshold(bounds, max_error)
    if found is None:
        raise InputError(
            f"{explain_missing_threshold(bounds, max_error)}; allow a larger max_error, or let "
            "more images validate the model"
        )
    return Abstention(max_error, found.threshold, classifier.manifest.temperature)


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
