"""Abstention: accept only confident predictions, with a bound on the error among them.

A model that may abstain accepts an image if the confidence of its prediction reaches a threshold.
Each threshold of a small fixed grid gets an upper bound of the error among the images it accepts.
Each bound is exact (Clopper-Pearson) at the level 1 - 0.05 / thresholds (Bonferroni), so all bounds
hold simultaneously with a probability of 95 %. A threshold for any maximum error may therefore be
chosen after looking at them.

The guarantee assumes images that were used neither to train nor to select the model. Validation
images did not train it, but they selected its best epoch and the best trial, and its temperature
was fitted on them; the more trials were compared, the more optimistic they may be. The test images,
which selected nothing, show whether the bound held.

Source: A. N. Angelopoulos, S. Bates, E. J. Candes, M. I. Jordan, L. Lei, Learn then Test, Ann.
Appl. Stat. 19 (2025) 1641-1662, with Bonferroni's correction.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from veduta.metrics.bootstrap import QUANTILES, draw_image_counts
from veduta.metrics.intervals import Estimate, compute_upper_bound
from veduta.runs.artifact import ErrorBound
from veduta.types import BoolArray, FloatArray

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
"""Thresholds of confidence that are evaluated; 0 accepts every image."""

CONFIDENCE_LEVEL = 0.95
MAX_ERROR = 0.02


def evaluate_threshold(
    correct: BoolArray, confidence: FloatArray, threshold: float, *, comparisons: int = 1
) -> ErrorBound:
    """Count the images that a threshold accepts, and bound the error among them.

    Args:
        correct: (N,) whether each prediction is correct.
        confidence: (N,) probability of the predicted class.
        threshold: threshold of the confidence.
        comparisons: number of thresholds that the bound is corrected for (Bonferroni).
    """
    is_accepted = confidence >= threshold
    accepted, errors = int(is_accepted.sum()), int((is_accepted & ~correct).sum())
    bound = compute_upper_bound(errors, accepted, 1 - (1 - CONFIDENCE_LEVEL) / comparisons)
    return ErrorBound(
        threshold=threshold,
        images=len(correct),
        accepted=accepted,
        errors=errors,
        error_high=bound,
    )


def compute_error_bounds(correct: BoolArray, confidence: FloatArray) -> tuple[ErrorBound, ...]:
    """Evaluate every threshold of `THRESHOLDS`, with bounds that hold simultaneously."""
    return tuple(
        evaluate_threshold(correct, confidence, threshold, comparisons=len(THRESHOLDS))
        for threshold in THRESHOLDS
    )


def find_threshold(bounds: Sequence[ErrorBound], max_error: float) -> ErrorBound | None:
    """Return the lowest threshold whose error bound is at most `max_error`, or None.

    >>> correct, confidence = np.arange(1000) >= 30, np.linspace(0.3, 1, 1000)
    >>> bound = find_threshold(compute_error_bounds(correct, confidence), 0.02)
    >>> bound.threshold, bound.accepted, bound.errors, round(bound.error_high, 4)
    (0.5, 714, 0, 0.0078)
    """
    return next((bound for bound in bounds if bound.error_high <= max_error), None)


def explain_missing_threshold(bounds: Sequence[ErrorBound], max_error: float) -> str:
    """Explain why no threshold has an error bound of at most `max_error`, in one sentence.

    >>> explain_missing_threshold(compute_error_bounds(np.ones(100, bool), np.ones(100)), 0.02)
    'no threshold has an error bound of at most 2 %: the lowest bound with 100 images is 5.4 %'
    """
    lowest = min((bound.error_high for bound in bounds), default=1.0)
    images = bounds[0].images if bounds else 0
    return (
        f"no threshold has an error bound of at most {100 * max_error:g} %: the lowest bound with "
        f"{images:,} images is {100 * lowest:.1f} %"
    )


def compute_risk_coverage_curve(correct: BoolArray, confidence: FloatArray) -> pd.DataFrame:
    """Compute the error among accepted images (`risk`) against their fraction (`coverage`).

    The table has one row per distinct confidence, in descending order: images of equal confidence
    are accepted together.
    """
    order = np.argsort(-confidence, kind="stable")
    ends_tie = _find_tie_ends(confidence[order])
    accepted = np.flatnonzero(ends_tie) + 1
    errors = np.cumsum(~correct[order])[ends_tie]
    return pd.DataFrame(
        {
            "threshold": confidence[order][ends_tie],
            "coverage": accepted / max(1, len(correct)),
            "risk": errors / accepted,
        }
    )


def estimate_risk_coverage_area(
    correct: BoolArray, confidence: FloatArray, *, seed: int = 0
) -> Estimate:
    """Estimate the area under the risk-coverage curve (AURC); lower is better.

    It is the mean over k of the error among the k most confident images; errors are spread evenly
    over images of equal confidence. The interval consists of bootstrap percentiles over images.

    >>> correct, confidence = np.array([True, True, False]), np.array([0.9, 0.8, 0.7])
    >>> estimate_risk_coverage_area(correct, confidence).value  # (0 + 0 + 1/3) / 3
    0.1111111111111111

    Source: Y. Geifman, G. Uziel, R. El-Yaniv, ICLR (2019).
    """
    images = len(correct)
    if not images:
        return Estimate(np.nan, np.nan, np.nan, 0)
    order = np.argsort(-confidence, kind="stable")
    ties = np.cumsum(np.insert(np.diff(confidence[order]) != 0, 0, False))
    error_rates = np.bincount(ties, ~correct[order]) / np.bincount(ties)
    errors = error_rates[ties]
    value = (np.cumsum(errors) / np.arange(1, images + 1)).mean()
    resampled = []
    for block in draw_image_counts(images, seed):
        counts = block[:, order]
        accepted = np.cumsum(counts, axis=1)
        risk = np.cumsum(counts * errors, axis=1) / np.maximum(accepted, 1)
        resampled.append((counts * risk).sum(1) / images)
    low, high = np.quantile(np.concatenate(resampled), QUANTILES)
    return Estimate(float(value), float(low), float(high), images)


def _find_tie_ends(ordered: FloatArray) -> BoolArray:
    """Return whether each element is the last one of a run of equal values, (N,)."""
    if not len(ordered):
        return np.zeros(0, bool)
    return np.append(np.diff(ordered) != 0, True)
