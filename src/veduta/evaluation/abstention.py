"""Abstaining: which images a model should leave to a person, and what error is left then.

A model that may say "I do not know" accepts an image where its confidence reaches a threshold. The
thresholds tried are few and fixed, and each has an upper bound of the error of what it accepts. All
bounds hold together with a probability of 95 %: each is exact (Clopper-Pearson) at the level
1 - 0.05 / thresholds (Bonferroni). So whoever looks at them may choose any threshold, for any
error, and the promise holds for the one chosen.

What the promise needs: images that neither trained the model nor chose it. Validation images did
not train it, but its best epoch and the best trial were chosen on them, and the temperature fitted;
the more trials there were, the better it may look there by luck. The test, which chose nothing,
shows what came of the promise.

Source: A. N. Angelopoulos, S. Bates, E. J. Candes, M. I. Jordan, L. Lei, Learn then Test, Ann.
Appl. Stat. 19 (2025) 1641-1662, with Bonferroni's correction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.metrics.counts import Numbers
from veduta.metrics.figures import Figure
from veduta.metrics.intervals import upper_bound
from veduta.metrics.resampling import ENDS, image_draws

GRID = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
"""The thresholds tried; 0 accepts every image."""

LEVEL = 0.95
MAX_ERROR = 0.02

Hits = NDArray[np.bool_]


@final
@dataclass(frozen=True, slots=True)
class Accepted:
    """What a threshold of confidence accepts.

    Attributes:
        threshold: an image is accepted where the probability of its label is as high, or higher.
        images: that were judged.
        accepted: of these.
        errors: of the accepted ones.
        error_high: upper bound of the error among accepted images; all hold together at 95 %.
    """

    threshold: float
    images: int
    accepted: int
    errors: int
    error_high: float


def accepted(hits: Hits, confidence: Numbers, threshold: float, *, tried: int = 1) -> Accepted:
    """What `threshold` accepts of images with `confidence` (N,), right or wrong by `hits` (N,).

    Args:
        hits: (N,).
        confidence: (N,) probability of the predicted class.
        threshold: of confidence.
        tried: how many thresholds the bound is corrected for.
    """
    taken = confidence >= threshold
    many, errors = int(taken.sum()), int((taken & ~hits).sum())
    bound = upper_bound(errors, many, 1 - (1 - LEVEL) / tried)
    return Accepted(threshold, len(hits), many, errors, bound)


def error_bounds(hits: Hits, confidence: Numbers) -> tuple[Accepted, ...]:
    """What each threshold of the grid accepts, with bounds that hold together."""
    return tuple(accepted(hits, confidence, one, tried=len(GRID)) for one in GRID)


def threshold_for(bounds: Sequence[Accepted], max_error: float) -> Accepted | None:
    """The lowest threshold whose bound does not exceed `max_error`; None where there is none.

    >>> hits, confidence = np.arange(1000) >= 30, np.linspace(0.3, 1, 1000)  # errors: the unsure
    >>> found = threshold_for(error_bounds(hits, confidence), 0.02)
    >>> found.threshold, found.accepted, found.errors, round(found.error_high, 4)
    (0.5, 714, 0, 0.0078)
    """
    return next((one for one in bounds if one.error_high <= max_error), None)


def no_threshold(bounds: Sequence[Accepted], max_error: float) -> str:
    """Why there is no threshold, in a sentence.

    >>> no_threshold(error_bounds(np.ones(100, bool), np.ones(100)), 0.02)
    'no threshold shows an error of at most 2 %: with 100 images the bound is 5.4 % at best'
    """
    best = min((one.error_high for one in bounds), default=1.0)
    images = bounds[0].images if bounds else 0
    return (
        f"no threshold shows an error of at most {100 * max_error:g} %: with {images:,} images the "
        f"bound is {best:.1%} at best".replace("% at", " % at")
    )


def risk_coverage(hits: Hits, confidence: Numbers) -> pd.DataFrame:
    """The error that is left (`risk`) at every share of images accepted (`coverage`).

    One row a confidence that occurs, from the highest down: images of equal confidence are
    accepted together.
    """
    order = np.argsort(-confidence, kind="stable")
    last = _last_of_equals(confidence[order])
    taken = np.flatnonzero(last) + 1
    wrong = np.cumsum(~hits[order])[last]
    return pd.DataFrame(
        {
            "threshold": confidence[order][last],
            "coverage": taken / max(1, len(hits)),
            "risk": wrong / taken,
        }
    )


def risk_area(hits: Hits, confidence: Numbers, *, seed: int = 0) -> Figure:
    """Area below the risk-coverage curve: the mean risk over all coverages; the lower the better.

    The mean over k of the error among the k most confident images; within equal confidence, errors
    are spread evenly. The interval is the bootstrap's percentiles over images.

    >>> risk_area(np.array([True, True, False]), np.array([0.9, 0.8, 0.7])).value  # (0 + 0 + 1/3)/3
    0.1111111111111111

    Source: Y. Geifman, G. Uziel, R. El-Yaniv, ICLR (2019).
    """
    images = len(hits)
    if not images:
        return Figure(np.nan, np.nan, np.nan, 0)
    order = np.argsort(-confidence, kind="stable")
    groups = np.cumsum(np.insert(np.diff(confidence[order]) != 0, 0, False))
    wrong = np.bincount(groups, ~hits[order]) / np.bincount(groups)  # mean among equals
    errors = wrong[groups]
    value = (np.cumsum(errors) / np.arange(1, images + 1)).mean()
    drawn = []
    for block in image_draws(images, seed):
        often = block[:, order]
        reached = np.cumsum(often, axis=1)
        risk = np.cumsum(often * errors, axis=1) / np.maximum(reached, 1)
        drawn.append((often * risk).sum(1) / images)
    low, high = np.quantile(np.concatenate(drawn), ENDS)
    return Figure(float(value), float(low), float(high), images)


def _last_of_equals(ordered: Numbers) -> NDArray[np.bool_]:
    """Whether the next value is another, (N,)."""
    if not len(ordered):
        return np.zeros(0, bool)
    return np.append(np.diff(ordered) != 0, True)
