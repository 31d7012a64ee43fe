"""Metrics of predicted labels: accuracy, precision, recall, F1, kappa and the confusion matrix.

`compute_...` functions take counts per class and work on stacks of counts, so that one call covers
all bootstrap resamples; scikit-learn's equivalents take one pair of label arrays per call.
`estimate_...` functions take labels and return metrics with confidence intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd

from veduta.metrics.bootstrap import ClassCounts, Metric, resample_counts
from veduta.metrics.intervals import Estimate, compute_wilson_interval, nan_to_none
from veduta.types import AnyFloatArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Accuracy:
    """An accuracy, its 95 % interval and the number of images it was measured on."""

    value: float
    low: float
    high: float
    images: int

    @classmethod
    def from_counts(cls, correct: int, images: int) -> Self:
        """Compute the accuracy and its Wilson interval; the accuracy of no images is NaN."""
        accuracy = correct / images if images else np.nan
        return cls(accuracy, *compute_wilson_interval(correct, images), images=images)

    def as_dict(self) -> dict[str, Any]:
        """Return the accuracy as written to summary.json, with None for NaN."""
        return {
            "value": nan_to_none(self.value),
            "low": self.low,
            "high": self.high,
            "images": self.images,
        }

    @property
    def with_interval(self) -> tuple[float, float, float]:
        """The accuracy, and the lower and upper end of its interval."""
        return self.value, self.low, self.high

    def __str__(self) -> str:
        return (
            f"{self.value:.1%} (95 % interval {self.low:.1%} to {self.high:.1%}, "
            f"{self.images} images)"
        )


def compute_precision(counts: ClassCounts) -> FloatArray:
    """Compute the precision, correct / predicted, of each class, (..., classes)."""
    return divide_or_nan(counts.correct, counts.predicted)


def compute_recall(counts: ClassCounts) -> FloatArray:
    """Compute the recall, correct / actual, of each class, (..., classes)."""
    return divide_or_nan(counts.correct, counts.actual)


def compute_f1(counts: ClassCounts) -> FloatArray:
    """Compute the F1 score, 2 correct / (predicted + actual), of each class, (..., classes)."""
    return divide_or_nan(2 * counts.correct, counts.predicted + counts.actual)


def compute_macro_average(values: FloatArray) -> FloatArray:
    """Average a metric (..., classes) over the classes where it is not NaN, (...)."""
    return compute_weighted_average(values, np.ones_like(values))


def compute_weighted_average(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Average a metric (..., classes) over the classes where it is not NaN, with weights.

    If all of these classes have weight 0, they are averaged with equal weights, as in scikit-learn.
    """
    defined = ~np.isnan(values)
    effective = np.where(defined, weights, 0.0)
    effective = np.where(effective.sum(-1, keepdims=True) > 0, effective, defined)
    return divide_or_nan((effective * np.where(defined, values, 0.0)).sum(-1), effective.sum(-1))


def compute_accuracy(counts: ClassCounts) -> FloatArray:
    """Compute the accuracy, (...)."""
    return divide_or_nan(counts.correct.sum(-1), counts.images)


def compute_macro_f1(counts: ClassCounts) -> FloatArray:
    """Compute the mean F1 over the classes that have images or predictions, (...)."""
    return compute_macro_average(compute_f1(counts))


def compute_kappa(counts: ClassCounts) -> FloatArray:
    """Compute Cohen's kappa, the agreement of labels and predictions beyond chance, (...).

    kappa = (accuracy - expected) / (1 - expected) with
    expected = sum_k predicted_k actual_k / images^2. It is 0 for agreement by chance, 1 for full
    agreement, and NaN where only one class occurs.

    >>> counts = ClassCounts(np.array([4.0, 3.0]), np.array([6.0, 4.0]), np.array([5.0, 5.0]))
    >>> round(float(compute_kappa(counts)), 3)  # accuracy 0.7, expected 0.5
    0.4

    Source: J. Cohen, Educ. Psychol. Meas. 20 (1960) 37-46.
    """
    expected = divide_or_nan((counts.predicted * counts.actual).sum(-1), counts.images**2)
    return divide_or_nan(compute_accuracy(counts) - expected, 1 - expected)


def divide_or_nan(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide elementwise; the result is NaN where the denominator is not positive."""
    nan = np.full(np.shape(numerator), np.nan)
    quotient: FloatArray = np.divide(numerator, denominator, out=nan, where=denominator > 0)
    return quotient


def estimate_accuracy(y_true: IntArray, y_pred: IntArray) -> Accuracy:
    """Estimate the accuracy of predictions `y_pred` (N,) for the labels `y_true` (N,).

    >>> str(estimate_accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])))
    '75.0% (95 % interval 30.1% to 95.4%, 4 images)'
    """
    return Accuracy.from_counts(int((y_true == y_pred).sum()), len(y_true))


def estimate_top_k_accuracy(y_true: IntArray, scores: AnyFloatArray, k: int) -> Accuracy:
    """Estimate the fraction of images whose true class is among the `k` highest scores.

    Ties are broken in favor of the class with the lower index, as `argmax` does.

    Args:
        y_true: (N,) true class of each image.
        scores: (N, classes).
        k: number of classes that count as predicted.

    >>> scores = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    >>> estimate_top_k_accuracy(np.array([1, 2]), scores, 2).value
    0.5
    """
    top_k = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Accuracy.from_counts(int((top_k == y_true[:, None]).sum()), len(y_true))


def compute_confusion_matrix(
    y_true: IntArray, y_pred: IntArray, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Count how often images of each true class (row) are predicted as each class (column)."""
    from sklearn.metrics import confusion_matrix

    counts = np.zeros((len(classes),) * 2, np.int64)
    if len(y_true):
        counts = confusion_matrix(y_true, y_pred, labels=range(len(classes)))
    return pd.DataFrame(counts, index=list(classes), columns=list(classes))


def estimate_class_metrics(
    y_true: IntArray, y_pred: IntArray, classes: tuple[str, ...], *, seed: int = 0
) -> pd.DataFrame:
    """Estimate precision, recall and F1 of each class with their intervals, one row per class.

    Recall is measured on the `images` of a class, precision on its `predicted` images and F1 on
    both. A metric without such images is NaN: there is no recall of a class without images and no
    precision of a class that is never predicted.

    Args:
        y_true: (N,) true class of each image.
        y_pred: (N,) predicted class of each image.
        classes: names of the classes.
        seed: random seed of the bootstrap interval of F1; the other intervals are Wilson's.
    """
    (bootstrap,) = resample_counts(y_true, [y_pred], classes=len(classes), seed=seed)
    counts = bootstrap.observed
    columns: dict[str, Any] = {
        "class": list(classes),
        "images": counts.actual.astype(np.int64),
        "predicted": counts.predicted.astype(np.int64),
    }
    for name, values, totals in (
        ("precision", compute_precision(counts), counts.predicted),
        ("recall", compute_recall(counts), counts.actual),
    ):
        pairs = zip(counts.correct, totals, strict=True)
        intervals = [
            compute_wilson_interval(int(correct), int(total)) if total else (np.nan, np.nan)
            for correct, total in pairs
        ]
        columns |= _build_interval_columns(name, values, intervals)
    f1 = bootstrap.estimate_each(compute_f1)
    columns |= _build_interval_columns(
        "f1", [estimate.value for estimate in f1], [(e.low, e.high) for e in f1]
    )
    return pd.DataFrame(columns)


def estimate_averaged_metrics(
    y_true: IntArray, y_pred: IntArray, *, classes: int, seed: int = 0
) -> dict[str, Estimate]:
    """Estimate precision, recall and F1 averaged over classes, balanced accuracy and kappa.

    `macro_...` is the mean over the classes for which the metric is defined, `weighted_...` weights
    each class by its number of images; `balanced_accuracy` is another name for macro recall.

    Args:
        y_true: (N,) true class of each image.
        y_pred: (N,) predicted class of each image.
        classes: number of classes.
        seed: random seed of the bootstrap.

    Returns:
        Estimates with bootstrap intervals, by name.
    """
    (bootstrap,) = resample_counts(y_true, [y_pred], classes=classes, seed=seed)
    estimates = {}
    metrics = {"precision": compute_precision, "recall": compute_recall, "f1": compute_f1}
    for name, metric in metrics.items():
        estimates[f"macro_{name}"] = bootstrap.estimate(partial(_macro_average, metric=metric))
        estimates[f"weighted_{name}"] = bootstrap.estimate(
            partial(_weight_by_images, metric=metric)
        )
    estimates["balanced_accuracy"] = estimates["macro_recall"]
    estimates["kappa"] = bootstrap.estimate(compute_kappa, minimum=-1.0)
    return estimates


def _macro_average(counts: ClassCounts, metric: Metric) -> FloatArray:
    return compute_macro_average(metric(counts))


def _weight_by_images(counts: ClassCounts, metric: Metric) -> FloatArray:
    return compute_weighted_average(metric(counts), counts.actual)


def _build_interval_columns(
    name: str, values: Sequence[float] | FloatArray, intervals: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Build the table columns of a metric and of both ends of its interval."""
    low, high = zip(*intervals, strict=True)
    return {name: values, f"{name}_low": low, f"{name}_high": high}
