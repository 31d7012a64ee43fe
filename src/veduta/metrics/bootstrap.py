"""Bootstrap confidence intervals of metrics.

Metrics of a confusion matrix: each resample draws as many images as there are from the cells (true
class, predicted class) of the matrix, after a pseudo-count of one image in total was spread evenly
over all cells. Without this smoothing an empty cell could never be drawn, and a classifier without
errors would get an interval of zero width. The bias of the resamples (their mean minus the metric
of the smoothed counts) is subtracted from the percentiles: for example, F1 of a small class is
systematically lower in the resamples.

In simulations (3 to 20 classes, 60 to 900 images, accuracy 0.8 to 0.99, balanced and imbalanced
classes, 600 repetitions each) this interval covers the true macro F1, kappa, balanced accuracy and
macro precision in 92 to 99 % of the cases. For small classes with rare errors, the coverage for
macro F1 is as low as 84 % with plain percentiles and 87 % with BCa.

Metrics of scores, which are not functions of the confusion matrix: each resample draws images.

Source: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapters 10 and 13.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from veduta.metrics.intervals import Estimate
from veduta.runtime.streams import derive_key
from veduta.types import BoolArray, FloatArray, IntArray

RESAMPLES = 1000
RESAMPLES_PER_BLOCK = 100  # resamples in memory at the same time when images are drawn
QUANTILES = (0.025, 0.975)


@final
@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Number of images per class, each array (..., classes).

    Attributes:
        correct: images of the class that were predicted as the class.
        predicted: images that were predicted as the class.
        actual: images that belong to the class.
    """

    correct: FloatArray
    predicted: FloatArray
    actual: FloatArray

    @property
    def images(self) -> FloatArray:
        """Total number of images over all classes, (...)."""
        total: FloatArray = self.actual.sum(-1)
        return total


Metric = Callable[[ClassCounts], FloatArray]


@final
@dataclass(frozen=True, slots=True)
class BootstrapCounts:
    """Counts of one classifier and their bootstrap resamples.

    Attributes:
        observed: counts of the test images, (classes,).
        smoothed: counts that the resamples are drawn from, (classes,).
        resampled: counts of the resamples, (resamples, classes).
    """

    observed: ClassCounts
    smoothed: ClassCounts
    resampled: ClassCounts

    def estimate(self, metric: Metric, *, minimum: float = 0.0) -> Estimate:
        """Estimate a metric with values in [minimum, 1]."""
        (estimate,) = self.estimate_each(lambda counts: metric(counts)[..., None], minimum=minimum)
        return estimate

    def estimate_each(self, metric: Metric, *, minimum: float = 0.0) -> list[Estimate]:
        """Estimate a metric that has several values (..., n), such as one per class."""
        values = metric(self.observed)
        low, high = compute_bias_corrected_interval(
            metric(self.resampled), metric(self.smoothed), values
        )
        images = int(self.observed.images)
        ends = zip(values, np.clip(low, minimum, 1), np.clip(high, minimum, 1), strict=True)
        return [Estimate(float(v), float(a), float(b), images) for v, a, b in ends]


def compute_bias_corrected_interval(
    resampled: FloatArray, center: FloatArray, values: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Compute percentile intervals shifted by the bias of the resamples.

    Args:
        resampled: (resamples, n) values of n metrics; NaN where a metric is undefined.
        center: (n,) values for the counts that the resamples are drawn from.
        values: (n,) observed values. Every interval is extended to contain its value.

    Returns:
        Lower and upper ends, (n,) each; NaN where the value is NaN.
    """
    defined = ~np.isnan(resampled)
    count = np.where(defined.any(0), defined.sum(0), 1)
    bias = np.where(defined, resampled, 0.0).sum(0) / count - center
    filled = np.where(defined.any(0), resampled, 0.0)
    low, high = (
        np.nanquantile(filled, QUANTILES, axis=0) - bias if len(values) else (values, values)
    )
    return np.minimum(low, values), np.maximum(high, values)


def resample_counts(
    y_true: IntArray, predictions: Sequence[IntArray], *, classes: int, seed: int
) -> list[BootstrapCounts]:
    """Draw bootstrap resamples of images and count them for one or two classifiers.

    All classifiers are counted on the same resamples, which makes comparisons paired.

    Args:
        y_true: (N,) true class of each image.
        predictions: predicted classes of each classifier, (N,) each.
        classes: number of classes.
        seed: random seed of the resamples.
    """
    generator = create_generator(seed, "cells")
    labels = np.stack([y_true, *predictions])
    cells, cell_sizes = np.unique(labels, axis=1, return_counts=True)
    images = labels.shape[1]
    probabilities = np.append(cell_sizes, 1) / (images + 1)
    drawn = generator.multinomial(images, probabilities, RESAMPLES)
    smoothing_images = drawn[:, -1]
    smoothing_labels = generator.integers(classes, size=(len(labels), int(smoothing_images.sum())))
    resample_index = np.repeat(np.arange(RESAMPLES), smoothing_images)
    counts = []
    for row in range(1, len(labels)):
        observed = _count_cells(cells[0], cells[row], cell_sizes, classes)
        pair = [0, row]
        resampled = _count_resamples(
            drawn[:, :-1],
            cells[pair],
            resample_index=resample_index,
            smoothing_labels=smoothing_labels[pair],
            classes=classes,
        )
        counts.append(BootstrapCounts(observed, _smooth(observed), resampled))
    return counts


def draw_image_counts(images: int, seed: int, resamples: int = RESAMPLES) -> Iterator[FloatArray]:
    """Yield how often each resample draws each image, (`RESAMPLES_PER_BLOCK`, images) at a time."""
    generator = create_generator(seed, "images")
    for _ in range(0, resamples, RESAMPLES_PER_BLOCK):
        yield generator.multinomial(
            images, np.full(images, 1 / images), RESAMPLES_PER_BLOCK
        ).astype(np.float64)


def estimate_mean(values: FloatArray, seed: int) -> Estimate:
    """Estimate the mean of one value per image, (N,), with its percentile interval."""
    images = len(values)
    if not images:
        return Estimate(np.nan, np.nan, np.nan, 0)
    blocks = draw_image_counts(images, seed)
    means = np.concatenate([block @ values for block in blocks]) / images
    low, high = np.quantile(means, QUANTILES)
    return Estimate(float(values.mean()), float(low), float(high), images)


def create_generator(seed: int, purpose: str) -> np.random.Generator:
    """Create the random generator for one kind of resampling."""
    return np.random.Generator(np.random.Philox(key=int(derive_key(seed, "bootstrap", purpose))))


def _count_cells(
    y_true: IntArray, y_pred: IntArray, cell_sizes: IntArray, classes: int
) -> ClassCounts:
    """Count images per class, given the labels of each cell and the number of images in it."""
    correct = y_true == y_pred
    pairs = ((y_true[correct], cell_sizes[correct]), (y_pred, cell_sizes), (y_true, cell_sizes))
    return ClassCounts(
        *(np.bincount(labels, sizes, classes).astype(np.float64) for labels, sizes in pairs)
    )


def _smooth(counts: ClassCounts) -> ClassCounts:
    """Add a pseudo-count of one image, spread evenly over all cells of the confusion matrix."""
    classes = len(counts.actual)
    return ClassCounts(
        counts.correct + 1 / classes**2,
        counts.predicted + 1 / classes,
        counts.actual + 1 / classes,
    )


def _count_resamples(
    drawn: IntArray,
    cells: IntArray,
    *,
    resample_index: IntArray,
    smoothing_labels: IntArray,
    classes: int,
) -> ClassCounts:
    """Count the images of each resample per class.

    Args:
        drawn: (resamples, cells) how often each cell was drawn.
        cells: (2, cells) true and predicted class of each cell.
        resample_index: (M,) index of the resample of each image drawn from the pseudo-count.
        smoothing_labels: (2, M) true and predicted class of these images.
        classes: number of classes.
    """
    from scipy.sparse import csr_array

    def count(row: int, selected_cells: BoolArray, selected_images: BoolArray) -> FloatArray:
        columns = np.flatnonzero(selected_cells)
        positions = cells[row][columns], columns
        shape = (classes, len(selected_cells))
        membership = csr_array((np.ones(len(columns)), positions), shape=shape)
        counts: FloatArray = np.ascontiguousarray((membership @ drawn.T).T)
        labels = smoothing_labels[row][selected_images]
        np.add.at(counts, (resample_index[selected_images], labels), 1)
        return counts

    everything = np.ones(cells.shape[1], bool), np.ones(len(resample_index), bool)
    correct = cells[0] == cells[1], smoothing_labels[0] == smoothing_labels[1]
    return ClassCounts(count(0, *correct), count(1, *everything), count(0, *everything))
