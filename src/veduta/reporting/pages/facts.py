"""Data of a report page, loaded from the directory of a run or an evaluation."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import pandas as pd

from veduta.evaluation.abstention import compute_risk_coverage_curve
from veduta.evaluation.calibration import compute_reliability_diagram, softmax
from veduta.evaluation.winner_assessment import WinnerAssessment
from veduta.foundations.generalization import (
    find_overfitting_epoch,
    generalization_gap,
    overfits,
    underfits,
)
from veduta.foundations.stopping import optimal_epoch
from veduta.metrics.classification import compute_confusion_matrix, estimate_class_metrics
from veduta.reporting.pictures.media import MediaFolder, load_media_folder, tabulate_images
from veduta.runs.directory import RunDirectory
from veduta.runs.summary import Abstention, Calibration, EvaluationSummary, Summary
from veduta.runs.tables import read_confusion, read_table

TableRow = dict[str, Any]
"""A row of a table by column name, as pandas returns it."""


@final
@dataclass(frozen=True, slots=True)
class EvaluationFacts:
    """Predictions of a model on labeled images, and the metrics computed from them.

    Attributes:
        split: name of the split, as on the page: "test", "validation" or "evaluated".
        classes: names of the classes.
        images: path, y_true, y_pred and probability (of the predicted class); one row per image.
        confusion: confusion matrix; rows are the true classes.
        per_class: precision, recall and F1 of each class with intervals.
        reliability: accuracy by confidence, "before" and "after" temperature scaling.
        risk_coverage: error rate of the accepted images by coverage, the fraction accepted.
        calibration: temperature and calibration errors.
        abstention: confidence threshold, with its coverage and error.
        media: pictures of the images.
    """

    split: str
    classes: tuple[str, ...]
    images: pd.DataFrame
    confusion: pd.DataFrame
    per_class: pd.DataFrame
    reliability: Mapping[str, pd.DataFrame]
    risk_coverage: pd.DataFrame
    calibration: Calibration
    abstention: Abstention
    media: MediaFolder


def load_run_facts(
    directory: RunDirectory, summary: Summary, assessment: WinnerAssessment, *, seed: int
) -> EvaluationFacts:
    """Return the facts of a run on its test images, or on validation images if there are none."""
    predictions = assessment.test or assessment.validation
    y_true, y_pred, classes = predictions.y_true, predictions.y_pred, predictions.classes
    uncalibrated = softmax(predictions.logits).max(1, initial=0.0)
    correct, confidence = predictions.correct, predictions.confidence
    return EvaluationFacts(
        split="test" if assessment.test else "validation",
        classes=classes,
        images=tabulate_images(predictions),
        confusion=compute_confusion_matrix(y_true, y_pred, classes),
        per_class=estimate_class_metrics(y_true, y_pred, classes, seed=seed),
        reliability={
            "before": compute_reliability_diagram(correct, uncalibrated),
            "after": compute_reliability_diagram(correct, confidence),
        },
        risk_coverage=compute_risk_coverage_curve(correct, confidence),
        calibration=summary.calibration,
        abstention=summary.abstention,
        media=load_media_folder(directory.media),
    )


def load_evaluation_facts(directory: RunDirectory, summary: EvaluationSummary) -> EvaluationFacts:
    """Return the facts of an evaluation from its tables."""
    confusion = read_confusion(directory.confusion)
    return EvaluationFacts(
        split="evaluated",
        classes=tuple(confusion.index),
        images=read_table(directory.predictions),
        confusion=confusion,
        per_class=read_table(directory.per_class),
        reliability={"after": read_table(directory.reliability)},
        risk_coverage=read_table(directory.risk_coverage),
        calibration=summary.calibration,
        abstention=summary.abstention,
        media=load_media_folder(directory.media),
    )


def list_rows(table: pd.DataFrame) -> list[TableRow]:
    """Return the rows of a table by column name."""
    rows: list[dict[Hashable, Any]] = table.to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


MAX_REJECTED = 50


def load_rejected_files(directory: RunDirectory) -> dict[str, object]:
    """Return the first rejected files with their reasons (`rejected`), and `rejected_count`."""
    table = read_table(directory.rejected).fillna("")
    return {"rejected": list_rows(table.head(MAX_REJECTED)), "rejected_count": len(table)}


OVERFITTING_GAP = 0.1  # generalization gap above which section 3 calls a model overfitted


def describe_learning_curves(epochs: pd.DataFrame, best_epoch: int) -> Sequence[str]:
    """Return sentences that describe overfitting and underfitting of a trial.

    Args:
        epochs: one row per epoch of one trial: epoch, and loss and accuracy on training and
            validation images.
        best_epoch: epoch whose weights were kept.
    """
    best = epochs[epochs["epoch"] == best_epoch]
    train, validation = best["train_accuracy"].to_numpy()[0], best["val_accuracy"].to_numpy()[0]
    gap = generalization_gap(train, validation)
    sentences = [
        f"After epoch {best_epoch} of {len(epochs)}, whose weights were kept, the model classifies "
        f"{train:.1%} of the training images and {validation:.1%} of the validation images "
        "correctly" + (f", a gap of {100 * gap:.1f} percentage points." if gap >= 0 else ".")
    ]
    if underfits(train):
        sentences.append(
            "The model underfits: its accuracy is low even on the images that it was trained on. A "
            "larger network, a higher learning rate or more epochs may help."
        )
    elif overfits(train, validation, limit=OVERFITTING_GAP):
        sentences.append(
            f"The model overfits: the gap is larger than {100 * OVERFITTING_GAP:.0f} percentage "
            "points. More training images, augmentation, weight decay or dropout may help."
        )
    else:
        sentences.append(
            f"The gap is below {100 * OVERFITTING_GAP:.0f} percentage points, above which this "
            "report calls a model overfitted."
        )
    return [*sentences, *_describe_losses(epochs)]


def _describe_losses(epochs: pd.DataFrame) -> Sequence[str]:
    """Return a sentence on whether the training was too long or too short, if it was."""
    if not epochs[["train_loss", "val_loss"]].notna().to_numpy().all():
        return []
    train_losses, val_losses = epochs["train_loss"].tolist(), epochs["val_loss"].tolist()
    last = len(epochs)
    overfitting_epoch = find_overfitting_epoch(train_losses, val_losses)
    if overfitting_epoch is not None:
        trend = f"After epoch {overfitting_epoch} only the training loss decreases"
        return [f"{trend}: further epochs would only memorize the training images."]
    if optimal_epoch(val_losses) == last and last > 1:
        return ["The validation loss was still decreasing at the last epoch: more epochs may help."]
    return []
