"""Predict the labels of images with the model of a run, and abstain where it is not confident."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from veduta.data.folder import read_images
from veduta.data.pixels import Rejection
from veduta.data.sample import Sample
from veduta.errors import InputError
from veduta.evaluation.abstention import explain_missing_threshold, find_threshold
from veduta.evaluation.calibration import softmax
from veduta.inference.classifier import Classifier, Scores, load_classifier
from veduta.runs.directory import (
    RUNS_FOLDER,
    RunDirectory,
    choose_output_path,
    create_run_directory,
    read_and_check_output,
)
from veduta.runs.summary import PredictionSummary, write_summary
from veduta.runs.tables import REJECTED, write_rows, write_table
from veduta.runtime.disk import explain_write_errors
from veduta.tracking.console import Console
from veduta.types import AnyFloatArray, BoolArray, FloatArray


@final
@dataclass(frozen=True, slots=True)
class AbstentionRule:
    """Abstention rule: a model abstains from images whose confidence is below a threshold.

    Attributes:
        max_error: requested maximum error rate among the accepted images.
        threshold: threshold of the confidence, the calibrated probability of the predicted class.
        temperature: number that logits are divided by before the softmax.
    """

    max_error: float
    threshold: float
    temperature: float

    def compute_confidence(self, logits: AnyFloatArray) -> FloatArray:
        """Return the calibrated probability of the predicted class of each image, (N,)."""
        confidence: FloatArray = softmax(logits, self.temperature).max(1, initial=0.0)
        return confidence

    def abstains(self, logits: AnyFloatArray) -> BoolArray:
        """Return whether the model abstains from each image, (N,)."""
        below: BoolArray = self.compute_confidence(logits) < self.threshold
        return below


def choose_abstention_rule(
    classifier: Classifier, max_error: float | None
) -> AbstentionRule | None:
    """Choose the lowest threshold that keeps the error below `max_error`; None without `max_error`.

    Raises:
        InputError: `max_error` is not between 0 and 1, or no threshold achieves it on validation.
    """
    if max_error is None:
        return None
    if not 0 < max_error < 1:
        raise InputError(f"max_error must be between 0 and 1; got {max_error:g}: try 0.02")
    bounds = classifier.manifest.error_bounds
    bound = find_threshold(bounds, max_error)
    if bound is None:
        raise InputError(
            f"{explain_missing_threshold(bounds, max_error)}; allow a larger max_error, or "
            "train the model with more validation images"
        )
    return AbstentionRule(max_error, bound.threshold, classifier.manifest.temperature)


@dataclass(frozen=True, slots=True)
class Predictions:
    """The most probable labels of images.

    Attributes:
        run: run whose model predicted them.
        table: path, label, probability, label_2, probability_2, ..., one row per image; with an
            abstention rule also confidence and abstained.
        rejected: the files that cannot be decoded.
        abstention: the abstention rule; None if `max_error` was not given.
        directory: directory with the written predictions; None if they were not written.
    """

    run: Path
    table: pd.DataFrame
    rejected: tuple[Rejection, ...]
    abstention: AbstentionRule | None = None
    directory: Path | None = None

    @property
    def summary(self) -> PredictionSummary:
        """The content of summary.json."""
        counts = self.table["label"].value_counts()
        rule = self.abstention
        return PredictionSummary(
            run=str(self.run),
            images=len(self.table),
            rejected_files=len(self.rejected),
            labels={str(label): int(count) for label, count in counts.items()},
            max_error=rule.max_error if rule else None,
            threshold=rule.threshold if rule else None,
            temperature=rule.temperature if rule else None,
            abstained=int(self.table["abstained"].sum()) if rule else None,
        )


def predict(
    classifier: Classifier,
    samples: Sequence[Sample],
    *,
    top_k: int,
    console: Console,
    max_error: float | None = None,
) -> Predictions:
    """Predict the labels of images.

    Args:
        classifier: the model.
        samples: the images; an image that is given twice has two rows.
        top_k: number of labels per image.
        console: shows progress.
        max_error: maximum error among the images from which the model does not abstain.

    Raises:
        InputError: `top_k` is not between 1 and the number of classes, or no confidence
            threshold achieves `max_error`.
    """
    if not 1 <= top_k <= len(classifier.classes):
        raise InputError(
            f"top_k must be from 1 to {len(classifier.classes)}, the number of classes; got {top_k}"
        )
    rule = choose_abstention_rule(classifier, max_error)
    with console.stage("predicting", "images") as advance:
        scores = classifier.score(samples, advance)
    table = tabulate_top_labels(scores, classifier.classes, top_k)
    if rule is not None:
        table["confidence"] = rule.compute_confidence(scores.logits)
        table["abstained"] = rule.abstains(scores.logits)
    return Predictions(classifier.source, table, scores.rejected, rule)


def tabulate_top_labels(scores: Scores, classes: Sequence[str], top_k: int) -> pd.DataFrame:
    """Return the `top_k` most probable labels of each image, best first, with probabilities."""
    order = np.argsort(-scores.probabilities, axis=1, kind="stable")[:, :top_k]
    rows = np.arange(len(order))
    columns: dict[str, Sequence[str] | FloatArray] = {
        "path": [sample.name for sample in scores.samples]
    }
    for rank in range(order.shape[1]):
        suffix = f"_{rank + 1}" if rank else ""
        indices = order[:, rank]
        columns[f"label{suffix}"] = [classes[index] for index in indices]
        columns[f"probability{suffix}"] = scores.probabilities[rows, indices].astype(float)
    return pd.DataFrame(columns)


def run_prediction(
    run: Path,
    images: Sequence[str | Path],
    *,
    top_k: int,
    max_error: float | None,
    out: str | Path | None,
    console: Console,
) -> Predictions:
    """Predict the labels of images, and write them to a new directory.

    Args:
        run: run directory.
        images: files, or folders of images.
        top_k: number of labels per image.
        max_error: as in `predict`.
        out: the new directory; default `runs/predict-N`.
        console: shows progress.
    """
    output = choose_output_path(out, RUNS_FOLDER, "predict")
    samples = read_and_check_output(output, lambda: read_images(images))
    classifier = load_classifier(run, warn=console.warn)
    predictions = predict(classifier, samples, top_k=top_k, max_error=max_error, console=console)
    directory = create_run_directory(output)
    predictions = replace(predictions, directory=directory.path)
    _write_predictions(directory, predictions)
    return predictions


def _write_predictions(directory: RunDirectory, predictions: Predictions) -> None:
    """Write predictions.csv, rejected.csv and summary.json."""
    with explain_write_errors(directory.path):
        write_table(directory.predictions, predictions.table)
        write_rows(directory.rejected, REJECTED, map(astuple, predictions.rejected))
        write_summary(directory.summary, predictions.summary)
