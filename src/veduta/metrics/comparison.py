"""Paired comparison of two classifiers on the same images."""

import numpy as np

from veduta.metrics.bootstrap import compute_bias_corrected_interval, resample_counts
from veduta.metrics.classification import compute_accuracy, compute_macro_f1
from veduta.metrics.intervals import Estimate
from veduta.types import BoolArray, IntArray


def compute_mcnemar_p_value(first_correct: BoolArray, second_correct: BoolArray) -> float:
    """Compute the two-sided p-value of McNemar's exact test that two accuracies are equal.

    Only images that exactly one classifier predicts correctly are informative. If the accuracies
    are equal, each of these is equally likely to be correct for either classifier.

    Args:
        first_correct: (N,) whether the first classifier is correct, for each image.
        second_correct: (N,) the same for the second classifier.

    >>> first_correct = np.array([True] * 9 + [False] * 3)
    >>> compute_mcnemar_p_value(first_correct, ~first_correct)
    0.1459960937...

    Source: Q. McNemar, Psychometrika 12 (1947) 153-157.
    """
    from scipy.stats import binomtest

    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((second_correct & ~first_correct).sum())
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def adjust_p_values(p_values: list[float]) -> list[float]:
    """Adjust p-values for multiple testing by Holm's step-down method.

    >>> adjust_p_values([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Source: S. Holm, Scand. J. Stat. 6 (1979) 65-70.
    """
    adjusted = [0.0] * len(p_values)
    running_maximum = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        corrected = min(1.0, (len(p_values) - rank) * p_values[index])
        running_maximum = max(running_maximum, corrected)
        adjusted[index] = running_maximum
    return adjusted


def estimate_paired_differences(
    y_true: IntArray,
    first_pred: IntArray,
    second_pred: IntArray,
    *,
    classes: int,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Estimate the differences of `accuracy` and `macro_f1`, second minus first classifier.

    Both classifiers are evaluated on the same bootstrap resamples, so the variation that they
    share, such as images that are hard for both, cancels.

    Args:
        y_true: (N,) true class of each image.
        first_pred: (N,) predictions of the first classifier.
        second_pred: (N,) predictions of the second classifier.
        classes: number of classes.
        seed: random seed of the bootstrap.

    >>> y_true = np.zeros(100, int)
    >>> first, second = (np.arange(100) < n for n in (20, 10))  # 20 and 10 errors, 10 in common
    >>> differences = estimate_paired_differences(
    ...     y_true, first.astype(int), second.astype(int), classes=2
    ... )
    >>> str(differences["accuracy"])
    '0.100 (95 % interval 0.040 to 0.160)'
    """
    first, second = resample_counts(y_true, [first_pred, second_pred], classes=classes, seed=seed)
    differences = {}
    for name, metric in (("accuracy", compute_accuracy), ("macro_f1", compute_macro_f1)):
        resampled, center, value = (
            np.atleast_1d(metric(getattr(second, kind)) - metric(getattr(first, kind)))
            for kind in ("resampled", "smoothed", "observed")
        )
        low, high = compute_bias_corrected_interval(resampled[:, None], center, value)
        differences[name] = Estimate(float(value[0]), float(low[0]), float(high[0]), len(y_true))
    return differences
