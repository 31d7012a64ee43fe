"""Temperature scaling, which calibrates probabilities without changing predicted labels."""

from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from veduta.metrics.classification import Accuracy
from veduta.metrics.probabilities import BINS, assign_bins
from veduta.types import AnyFloatArray, BoolArray, FloatArray, IntArray

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0


@final
@dataclass(frozen=True, slots=True)
class Temperature:
    """The temperature that logits are divided by before the softmax.

    Attributes:
        value: above 1 it lowers the confidence, below 1 it raises it.
        images: number of images that it was fitted on.
        reason: why it could not be fitted and is 1; None if it was fitted.
    """

    value: float
    images: int
    reason: str | None = None


def softmax(logits: AnyFloatArray, temperature: float = 1.0) -> FloatArray:
    """Compute the probabilities (N, classes) of `logits` (N, classes) in float64.

    >>> softmax(np.array([[0.0, np.log(9.0)]]), 2.0).round(3)  # odds of 9 become 3
    array([[0.25, 0.75]])
    """
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(1, keepdims=True, initial=-np.inf))
    probabilities: FloatArray = exponentials / exponentials.sum(1, keepdims=True)
    return probabilities


def fit_temperature(logits: AnyFloatArray, y_true: IntArray) -> Temperature:
    """Find the temperature that minimizes the log loss on images not used for training.

    As a function of u = 1 / temperature the loss, the mean of ln sum_k exp(u z_k) - u z_true, is
    convex. Its derivative, the mean of sum_k p_k z_k - z_true, is 0 at the minimum. If every
    prediction is correct, the loss decreases without limit as the temperature approaches 0; this is
    not evidence of certainty, so the temperature stays 1.

    Args:
        logits: (N, classes).
        y_true: (N,) true class of each image.

    >>> logits = np.array([[2.0, 0.0]] * 4)  # probability 0.88, accuracy 0.75
    >>> temperature = fit_temperature(logits, np.array([0, 0, 0, 1]))
    >>> softmax(logits, temperature.value)[0].round(4)
    array([0.75, 0.25])

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML (2017), section 4.2.
    """
    from scipy.optimize import brentq

    images = len(y_true)
    if not images:
        return Temperature(1.0, 0, "there are no images to fit it on")
    z = logits.astype(np.float64)
    true_logits = z[np.arange(images), y_true]
    other_logits = z.copy()
    other_logits[np.arange(images), y_true] = -np.inf
    if (true_logits >= other_logits.max(1)).all():
        return Temperature(1.0, images, "every prediction is correct")

    def compute_derivative(u: float) -> float:
        return float(((softmax(z, 1 / u) * z).sum(1) - true_logits).mean())

    if compute_derivative(1 / MAX_TEMPERATURE) >= 0:  # no better than chance at any temperature
        return Temperature(MAX_TEMPERATURE, images)
    if compute_derivative(1 / MIN_TEMPERATURE) <= 0:
        return Temperature(MIN_TEMPERATURE, images)
    root = brentq(compute_derivative, 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE)
    return Temperature(float(1 / root), images)


def compute_reliability_diagram(correct: BoolArray, confidence: FloatArray) -> pd.DataFrame:
    """Compute accuracy and mean confidence in equal-width bins of the confidence.

    Args:
        correct: (N,) whether each prediction is correct.
        confidence: (N,) probability of the predicted class.

    Returns:
        One row per non-empty bin: its edges (`bin_low`, `bin_high`), the number of images, their
        mean confidence, and their accuracy with its interval.
    """
    bins = assign_bins(confidence)
    rows = []
    for index in np.unique(bins):
        in_bin = bins == index
        accuracy = Accuracy.from_counts(int(correct[in_bin].sum()), int(in_bin.sum()))
        edges = (float(index / BINS), float((index + 1) / BINS))
        mean_confidence = confidence[in_bin].mean()
        rows.append((*edges, accuracy.images, mean_confidence, *accuracy.with_interval))
    names = (
        *("bin_low", "bin_high", "images", "confidence"),
        *("accuracy", "accuracy_low", "accuracy_high"),
    )
    return pd.DataFrame(rows, columns=list(names))
