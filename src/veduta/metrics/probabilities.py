"""Figures of probabilities: how good they are, not only which is the highest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from veduta.metrics.counts import Numbers
from veduta.metrics.figures import Figure
from veduta.metrics.resampling import (
    AT_ONCE,
    DRAWS,
    generator_of,
    image_draws,
    mean_figure,
    shifted,
)

BINS = 15  # as in Guo et al. 2017

Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating[Any]]


def log_loss(truth: Labels, probabilities: Probabilities, *, seed: int = 0) -> Figure:
    """Mean of -ln(probability of the true class); probabilities (N, classes) are kept above eps.

    >>> log_loss(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]])).value
    0.6931471805599...
    """
    return mean_figure(log_losses(truth, probabilities), seed)


def log_losses(truth: Labels, probabilities: Probabilities) -> Numbers:
    """-ln(probability of the true class), (N,)."""
    smallest = np.finfo(probabilities.dtype).eps
    chosen = probabilities[np.arange(len(truth)), truth]
    found: Numbers = -np.log(np.clip(chosen, smallest, 1 - smallest).astype(np.float64))
    return found


def brier_score(truth: Labels, probabilities: Probabilities, *, seed: int = 0) -> Figure:
    """Mean of sum_k (p_k - y_k)^2 with y_k = 1 for the true class: 0 is perfect, 2 the worst.

    >>> brier_score(np.array([0]), np.array([[0.5, 0.5]])).value
    0.5

    Source: G. W. Brier, Mon. Weather Rev. 78 (1950) 1-3.
    """
    hot = np.eye(probabilities.shape[1])[truth]
    return mean_figure(((probabilities - hot) ** 2).sum(1), seed)


def bins_of(confidence: Numbers, *, bins: int = BINS, equal_mass: bool = False) -> NDArray[np.intp]:
    """The bin of each image, (N,), from 0, by its confidence.

    Bin i of equal width holds i / bins < confidence <= (i + 1) / bins. Bins of equal mass hold as
    many images each, up to one; equal confidences go by the order of images.
    """
    if equal_mass:
        ranks = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
        return ranks * bins // max(1, len(confidence))
    return np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)


def calibration_error(
    hits: NDArray[np.bool_], confidence: Numbers, *, equal_mass: bool = False, seed: int = 0
) -> Figure:
    """Expected calibration error: by how much confidence misses accuracy, in the mean over bins.

    sum_b (images_b / images) |accuracy_b - mean confidence_b|, over 15 bins (`bins_of`). Bins of
    few images miss by chance, so it is above 0 even where probabilities are perfect. This excess
    is taken off the interval, not off the figure; and the interval reaches down to 0 where perfect
    probabilities would show as much in one of 20 cases.

    Args:
        hits: (N,) right or wrong.
        confidence: (N,) probability of the predicted class.
        equal_mass: bins of equally many images, instead of equal width.
        seed: of the bootstrap.

    >>> hits = np.array([True, True, False, True])
    >>> calibration_error(hits, np.full(4, 0.95)).value  # says 0.95, and 3 of 4 are right
    0.1999999...

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML (2017), equation 3.
    """
    images = len(hits)
    if not images:
        return Figure(np.nan, np.nan, np.nan, 0)
    hot = np.eye(BINS)[bins_of(confidence, equal_mass=equal_mass)]
    gaps = hot * (confidence - hits)[:, None]
    drawn = np.concatenate([abs(block @ gaps).sum(1) for block in image_draws(images, seed)])
    value = abs(gaps.sum(0)).sum(keepdims=True) / images
    (low,), (high,) = shifted(drawn[:, None] / images, value, value)
    if value[0] <= _by_chance(hot, confidence, seed):
        low = 0.0
    return Figure(float(value[0]), max(0.0, float(low)), float(high), images)


def _by_chance(hot: Numbers, confidence: Numbers, seed: int) -> float:
    """The calibration error that perfect probabilities stay below in 95 % of the cases."""
    generator = generator_of(seed, "calibrated")
    shown = []
    for _ in range(0, DRAWS, AT_ONCE):
        hits = generator.random((AT_ONCE, len(confidence))) < confidence
        shown.append(abs((confidence - hits) @ hot).sum(1))
    return float(np.quantile(np.concatenate(shown), 0.95)) / len(confidence)
