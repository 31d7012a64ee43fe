"""Figures that follow from three counts a class: right ones, predicted ones, true ones.

They take stacks of counts, so that a bootstrap computes a thousand figures in one call.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Counts:
    """Images of each class, (..., classes): rightly predicted, predicted, and of that class."""

    hits: Numbers
    predicted: Numbers
    truth: Numbers

    @property
    def images(self) -> Numbers:
        """All images, (...)."""
        found: Numbers = self.truth.sum(-1)
        return found


def ratio(above: Numbers, below: Numbers) -> Numbers:
    """The quotient above / below, NaN where below is 0."""
    empty = np.full(np.shape(above), np.nan)
    found: Numbers = np.divide(above, below, out=empty, where=below > 0)
    return found


def precision(counts: Counts) -> Numbers:
    """Of each class (..., classes): the share of the predicted ones that are of it."""
    return ratio(counts.hits, counts.predicted)


def recall(counts: Counts) -> Numbers:
    """Of each class (..., classes): the share of its images that are found."""
    return ratio(counts.hits, counts.truth)


def f1(counts: Counts) -> Numbers:
    """Of each class (..., classes): 2 hits / (predicted + true), of precision and recall."""
    return ratio(2 * counts.hits, counts.predicted + counts.truth)


def macro(figures: Numbers) -> Numbers:
    """Mean (...) over the classes that have the figure (..., classes)."""
    return weighted(figures, np.ones_like(figures))


def weighted(figures: Numbers, images: Numbers) -> Numbers:
    """Mean (...) over the classes that have the figure, each as often as it has images.

    Where none of these has images, each counts once, as in scikit-learn.
    """
    there = ~np.isnan(figures)
    weights = np.where(there, images, 0.0)
    weights = np.where(weights.sum(-1, keepdims=True) > 0, weights, there)
    return ratio((weights * np.where(there, figures, 0.0)).sum(-1), weights.sum(-1))


def accuracy_of(counts: Counts) -> Numbers:
    """The share (...) of right images."""
    return ratio(counts.hits.sum(-1), counts.images)


def macro_f1(counts: Counts) -> Numbers:
    """Mean (...) of F1 over the classes that have images or predictions."""
    return macro(f1(counts))


def kappa(counts: Counts) -> Numbers:
    """Cohen's kappa (...): by how much more than chance truth and prediction agree.

    (agreement - expected) / (1 - expected), expected = sum_k predicted_k truth_k / images^2; NaN
    where only one class occurs. 0 is chance, 1 is full agreement.

    >>> one = Counts(np.array([4.0, 3.0]), np.array([6.0, 4.0]), np.array([5.0, 5.0]))
    >>> round(float(kappa(one)), 3)  # 7 of 10 agree, 5 were expected to
    0.4

    Source: J. Cohen, Educ. Psychol. Meas. 20 (1960) 37-46.
    """
    expected = ratio((counts.predicted * counts.truth).sum(-1), counts.images**2)
    return ratio(accuracy_of(counts) - expected, 1 - expected)
