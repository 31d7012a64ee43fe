"""Temperature scaling: one number that makes confidence mean what it says, and changes no label."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.metrics.classification import share
from veduta.metrics.counts import Numbers
from veduta.metrics.probabilities import BINS, bins_of

COLDEST, HOTTEST = 0.01, 100.0

Labels = NDArray[np.int64]
Logits = NDArray[np.floating[Any]]


@final
@dataclass(frozen=True, slots=True)
class Temperature:
    """What logits are divided by before softmax.

    Attributes:
        value: above 1 it takes confidence away, below 1 it adds some.
        images: it was fitted on.
        reason: why nothing could be fitted, where the value is 1 for want of a better one.
    """

    value: float
    images: int
    reason: str | None = None


def softmax(logits: Logits, temperature: float = 1.0) -> Numbers:
    """Probabilities (N, classes) of `logits`, in float64.

    >>> softmax(np.array([[0.0, np.log(9.0)]]), 2.0).round(3)  # 9 to 1 becomes 3 to 1
    array([[0.25, 0.75]])
    """
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True, initial=-np.inf))
    found: Numbers = powers / powers.sum(1, keepdims=True)
    return found


def fit_temperature(logits: Logits, truth: Labels) -> Temperature:
    """The temperature with the least log loss on images that the model was not trained on.

    In u = 1 / temperature the loss, mean of ln sum_k exp(u z_k) - u z_true, is convex; at its
    least point the derivative, mean of sum_k p_k z_k - z_true, is 0. Where every image is right
    the loss falls without end as the temperature goes to 0: that is no evidence for certainty,
    and the temperature stays 1.

    Args:
        logits: (N, classes).
        truth: (N,) class of each image.

    >>> logits = np.array([[2.0, 0.0]] * 4)  # says 88 %, and 3 of 4 are right
    >>> found = fit_temperature(logits, np.array([0, 0, 0, 1]))
    >>> softmax(logits, found.value)[0].round(4)
    array([0.75, 0.25])

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML (2017), section 4.2.
    """
    from scipy.optimize import brentq

    images = len(truth)
    if not images:
        return Temperature(1.0, 0, "there is no image to fit it on")
    z = logits.astype(np.float64)
    true = z[np.arange(images), truth]
    rivals = z.copy()
    rivals[np.arange(images), truth] = -np.inf
    if (true >= rivals.max(1)).all():
        return Temperature(1.0, images, "every image is right, so confidence was never too high")

    def slope(u: float) -> float:
        return float(((softmax(z, 1 / u) * z).sum(1) - true).mean())

    if slope(1 / HOTTEST) >= 0:  # no better than chance at any temperature
        return Temperature(HOTTEST, images)
    if slope(1 / COLDEST) <= 0:
        return Temperature(COLDEST, images)
    return Temperature(float(1 / brentq(slope, 1 / HOTTEST, 1 / COLDEST)), images)


def reliability(hits: NDArray[np.bool_], confidence: Numbers) -> pd.DataFrame:
    """The reliability diagram: a row a bin of confidence that has images.

    Args:
        hits: (N,) right or wrong.
        confidence: (N,) probability of the predicted class.

    Returns:
        Ends of the bin, its images, their mean confidence, and their accuracy with its interval.
    """
    bins = bins_of(confidence)
    rows = []
    for number in np.unique(bins):
        inside = bins == number
        found = share(int(hits[inside].sum()), int(inside.sum()))
        ends = (float(number / BINS), float((number + 1) / BINS))
        rows.append((*ends, found.images, confidence[inside].mean(), *found.figures))
    names = ("above", "to", "images", "confidence", "accuracy", "accuracy_low", "accuracy_high")
    return pd.DataFrame(rows, columns=list(names))
