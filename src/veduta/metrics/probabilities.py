"""Metrics of predicted probabilities: log loss, Brier score, calibration error, areas under curves.

The curves are the ROC and the precision-recall curve of each class against the rest.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from veduta.metrics.bootstrap import (
    QUANTILES,
    RESAMPLES,
    RESAMPLES_PER_BLOCK,
    compute_bias_corrected_interval,
    create_generator,
    draw_image_counts,
    estimate_mean,
)
from veduta.metrics.classification import compute_macro_average
from veduta.metrics.intervals import Estimate
from veduta.types import AnyFloatArray, BoolArray, FloatArray, IndexArray, IntArray

BINS = 15  # as in Guo et al. 2017
MIN_RESAMPLES = 200  # for the areas under curves
MAX_OPERATIONS = 1e7  # resamples times images times classes of one bootstrap of areas

AreaFunction = Callable[[FloatArray], FloatArray]


def estimate_log_loss(y_true: IntArray, probabilities: AnyFloatArray, *, seed: int = 0) -> Estimate:
    """Estimate the mean log loss of `probabilities` (N, classes) for the labels `y_true` (N,).

    >>> estimate_log_loss(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]])).value
    0.6931471805599...
    """
    return estimate_mean(compute_log_losses(y_true, probabilities), seed)


def compute_log_losses(y_true: IntArray, probabilities: AnyFloatArray) -> FloatArray:
    """Compute -ln(probability of the true class) of each image, (N,).

    Probabilities are clipped to [eps, 1 - eps], where eps is the machine epsilon of their dtype.
    """
    epsilon = np.finfo(probabilities.dtype).eps
    true_class = probabilities[np.arange(len(y_true)), y_true]
    losses: FloatArray = -np.log(np.clip(true_class, epsilon, 1 - epsilon).astype(np.float64))
    return losses


def estimate_brier_score(
    y_true: IntArray, probabilities: AnyFloatArray, *, seed: int = 0
) -> Estimate:
    """Estimate the Brier score, the mean of sum_k (p_k - y_k)^2 with one-hot labels y.

    It is 0 for perfect and 2 for the worst possible probabilities (N, classes).

    >>> estimate_brier_score(np.array([0]), np.array([[0.5, 0.5]])).value
    0.5

    Source: G. W. Brier, Mon. Weather Rev. 78 (1950) 1-3.
    """
    one_hot = np.eye(probabilities.shape[1])[y_true]
    return estimate_mean(((probabilities - one_hot) ** 2).sum(1), seed)


def assign_bins(
    confidence: FloatArray, *, bins: int = BINS, equal_mass: bool = False
) -> IndexArray:
    """Return the index of the confidence bin of each image, (N,).

    Bins have equal width, bin i being the interval (i / bins, (i + 1) / bins], or with
    `equal_mass` equal numbers of images up to one; ties are then broken by the order of images.
    """
    if equal_mass:
        ranks = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
        return ranks * bins // max(1, len(confidence))
    return np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)


def estimate_calibration_error(
    correct: BoolArray, confidence: FloatArray, *, equal_mass: bool = False, seed: int = 0
) -> Estimate:
    """Estimate the expected calibration error (ECE).

    ECE = sum_b (images_b / images) |accuracy_b - mean confidence_b| over 15 bins (`assign_bins`).
    In small bins, accuracy and confidence differ by chance, so ECE is positive even for perfectly
    calibrated probabilities. The interval is corrected for this bias, the value is not. The
    interval includes 0 if calibrated probabilities would give an ECE at least as large in 5 % of
    the cases.

    Args:
        correct: (N,) whether each prediction is correct.
        confidence: (N,) probability of the predicted class.
        equal_mass: use bins with equal numbers of images instead of equal width.
        seed: random seed of the bootstrap.

    >>> correct = np.array([True, True, False, True])
    >>> estimate_calibration_error(correct, np.full(4, 0.95)).value  # accuracy 0.75
    0.1999999...

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML (2017), equation 3.
    """
    images = len(correct)
    if not images:
        return Estimate(np.nan, np.nan, np.nan, 0)
    membership = np.eye(BINS)[assign_bins(confidence, equal_mass=equal_mass)]  # (N, bins)
    gaps = membership * (confidence - correct)[:, None]
    resampled = np.concatenate(
        [abs(block @ gaps).sum(1) for block in draw_image_counts(images, seed)]
    )
    value = abs(gaps.sum(0)).sum(keepdims=True) / images
    (low,), (high,) = compute_bias_corrected_interval(resampled[:, None] / images, value, value)
    if value[0] <= _compute_calibrated_quantile(membership, confidence, seed):
        low = 0.0
    return Estimate(float(value[0]), max(0.0, float(low)), float(high), images)


def _compute_calibrated_quantile(
    membership: FloatArray, confidence: FloatArray, seed: int
) -> float:
    """Compute the 95 % quantile of the calibration error of calibrated probabilities."""
    generator = create_generator(seed, "calibrated")
    errors = []
    for _ in range(0, RESAMPLES, RESAMPLES_PER_BLOCK):
        correct = generator.random((RESAMPLES_PER_BLOCK, len(confidence))) < confidence
        errors.append(abs((confidence - correct) @ membership).sum(1))
    return float(np.quantile(np.concatenate(errors), 0.95)) / len(confidence)


def estimate_curve_areas(
    y_true: IntArray, scores: AnyFloatArray, classes: tuple[str, ...], *, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, Estimate]]:
    """Estimate the areas under the ROC and precision-recall curves of each class against the rest.

    `roc_auc` is the probability that an image of the class has a higher score than an image of
    another class; ties count one half. `average_precision` is
    sum_i (recall_i - recall_(i-1)) precision_i, without interpolation. A class without images, or
    without images of other classes, has no areas (NaN). Intervals are bootstrap percentiles over
    images; they are NaN if all resamples give the same area, as for a perfectly separated class.

    Args:
        y_true: (N,) true class of each image.
        scores: (N, classes).
        classes: names of the classes.
        seed: random seed of the bootstrap.

    Returns:
        A table with one row per class, and `macro_roc_auc` and `macro_average_precision`.
    """
    images = len(y_true)
    operations = max(1, images * len(classes))
    resamples = int(np.clip(MAX_OPERATIONS / operations, MIN_RESAMPLES, RESAMPLES))
    area_functions = [_prepare_areas(y_true == k, scores[:, k]) for k in range(len(classes))]
    values = _compute_areas(area_functions, np.ones((1, images)))[0]
    blocks = draw_image_counts(images, seed, resamples) if images else ()
    resampled = np.concatenate(
        [values[None][:0], *(_compute_areas(area_functions, block) for block in blocks)]
    )
    columns: dict[str, Any] = {"class": list(classes)}
    columns["images"] = np.bincount(y_true, minlength=len(classes))
    means = {}
    for index, name in enumerate(("roc_auc", "average_precision")):
        low, high = _compute_percentiles(resampled[:, index], values[index])
        columns |= {name: values[index], f"{name}_low": low, f"{name}_high": high}
        mean = compute_macro_average(values[index])
        resampled_mean = compute_macro_average(resampled[:, index])
        low, high = _compute_percentiles(resampled_mean[:, None], mean[None])
        means[f"macro_{name}"] = Estimate(float(mean), float(low[0]), float(high[0]), images)
    return pd.DataFrame(columns), means


def _compute_areas(area_functions: list[AreaFunction], block: FloatArray) -> FloatArray:
    """Compute the areas (resamples, 2, classes) of a block of image counts (resamples, images)."""
    return np.stack([compute(block) for compute in area_functions], axis=-1)


def _prepare_areas(positive: BoolArray, scores: AnyFloatArray) -> AreaFunction:
    """Return a function from image counts (resamples, N) to the areas (resamples, 2) of one class.

    Scores are sorted once; every resample then only weights the sorted images.
    """
    order = np.argsort(-scores, kind="stable")
    is_positive = positive[order].astype(np.float64)
    ends_tie = np.append(np.diff(scores[order]) != 0, True) if len(order) else np.zeros(0, bool)

    def compute_areas(image_counts: FloatArray) -> FloatArray:
        sorted_counts = image_counts[:, order]
        true_positives = np.cumsum(sorted_counts * is_positive, axis=1)[:, ends_tie]
        predicted = np.cumsum(sorted_counts, axis=1)[:, ends_tie]
        new_true_positives = np.diff(true_positives, axis=1, prepend=0)
        false_positives = predicted - true_positives
        new_false_positives = np.diff(false_positives, axis=1, prepend=0)
        positives, negatives = new_true_positives.sum(1), new_false_positives.sum(1)
        precision = np.divide(
            true_positives, predicted, out=np.zeros_like(true_positives), where=predicted > 0
        )
        ordered_pairs = (new_false_positives * (true_positives - new_true_positives / 2)).sum(1)
        areas = np.stack([ordered_pairs, (new_true_positives * precision).sum(1)], 1)
        totals = np.stack([positives * negatives, positives], 1)
        defined = (positives > 0) & (negatives > 0)
        return np.where(defined[:, None], areas / np.where(totals > 0, totals, 1), np.nan)

    return compute_areas


def _compute_percentiles(
    resampled: FloatArray, values: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Compute percentile intervals of the columns of `resampled` (resamples, n), (n,) each.

    An end is NaN if the value is NaN, or if the resamples do not vary.
    """
    defined = ~np.isnan(resampled).all(0) if len(resampled) else np.zeros(len(values), bool)
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    if defined.any():
        low[defined], high[defined] = np.nanquantile(resampled[:, defined], QUANTILES, axis=0)
    undefined = np.isnan(values) | (low == high)
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)
