"""Figures of a classifier, from true and predicted labels.

They come from counts (`metrics.counts`), which the bootstrap behind their intervals needs a
thousand times; scikit-learn, which computes them once, is what they are tested against.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.metrics.counts import Counts, Numbers, f1, kappa, macro, precision, recall, weighted
from veduta.metrics.figures import Figure, number
from veduta.metrics.intervals import wilson
from veduta.metrics.resampling import resampled

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of right labels, with its 95 % interval and the number of images behind it."""

    accuracy: float
    low: float
    high: float
    images: int

    def as_dict(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        return {
            "accuracy": number(self.accuracy),
            "low": self.low,
            "high": self.high,
            "images": self.images,
        }

    @property
    def figures(self) -> tuple[float, float, float]:
        """The share and both ends of its interval."""
        return self.accuracy, self.low, self.high

    def __str__(self) -> str:
        return (
            f"{self.accuracy:.1%} (95 % interval {self.low:.1%} to {self.high:.1%}, "
            f"{self.images} images)"
        )


def accuracy(truth: Labels, predicted: Labels) -> Accuracy:
    """The share of `predicted` (N,) that equals `truth` (N,); NaN of no image.

    >>> str(accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])))
    '75.0% (95 % interval 30.1% to 95.4%, 4 images)'
    """
    return share(int((truth == predicted).sum()), len(truth))


def top_k_accuracy(truth: Labels, scores: NDArray[np.floating[Any]], k: int) -> Accuracy:
    """The share of images whose class is among the `k` of the highest scores (N, classes).

    Among equal scores the class that comes first counts as the higher, as it does for `argmax`.

    >>> scores = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    >>> top_k_accuracy(np.array([1, 2]), scores, 2).accuracy
    0.5
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return share(int((order == truth[:, None]).sum()), len(truth))


def share(hits: int, images: int) -> Accuracy:
    """`hits` out of `images`."""
    return Accuracy(hits / images if images else np.nan, *wilson(hits, images), images=images)


def confusion(truth: Labels, predicted: Labels, classes: tuple[str, ...]) -> pd.DataFrame:
    """How often each class (row: the truth) was taken for each (column: the prediction)."""
    from sklearn.metrics import confusion_matrix

    every = range(len(classes))
    counts = np.zeros((len(classes),) * 2, np.int64)
    if len(truth):
        counts = confusion_matrix(truth, predicted, labels=every)
    return pd.DataFrame(counts, index=list(classes), columns=list(classes))


def per_class(
    truth: Labels, predicted: Labels, classes: tuple[str, ...], *, seed: int = 0
) -> pd.DataFrame:
    """Precision, recall and F1 of each class with their intervals, one row a class.

    `images` stand behind the recall, `predicted` behind the precision, and both behind F1. A
    figure that nothing was measured for (a class without images has no recall, one never
    predicted no precision) is left empty, not 0.

    Args:
        truth: (N,) class of each image.
        predicted: (N,) what it was taken for.
        classes: their names.
        seed: of the bootstrap behind the interval of F1; the others are Wilson's.
    """
    (drawn,) = resampled(truth, [predicted], classes=len(classes), seed=seed)
    counts = drawn.measured
    columns: dict[str, Any] = {
        "class": list(classes),
        "images": counts.truth.astype(np.int64),
        "predicted": counts.predicted.astype(np.int64),
    }
    for name, figure, of in (
        ("precision", precision(counts), counts.predicted),
        ("recall", recall(counts), counts.truth),
    ):
        pairs = zip(counts.hits, of, strict=True)
        ends = [wilson(int(hits), int(n)) if n else (np.nan, np.nan) for hits, n in pairs]
        columns |= _with_ends(name, figure, ends)
    found = drawn.figures(f1)
    columns |= _with_ends(
        "f1", [one.value for one in found], [(one.low, one.high) for one in found]
    )
    return pd.DataFrame(columns)


def averages(truth: Labels, predicted: Labels, *, classes: int, seed: int = 0) -> dict[str, Figure]:
    """Figures over all classes, by name, each with its bootstrap interval.

    `macro_...` is the mean over the classes that have the figure, `weighted_...` counts each class
    as often as it has images; `balanced_accuracy` is the macro recall by its other name.

    Args:
        truth: (N,) class of each image.
        predicted: (N,) what it was taken for.
        classes: how many there are.
        seed: of the bootstrap.
    """
    (drawn,) = resampled(truth, [predicted], classes=classes, seed=seed)
    found = {}
    for name, of in (("precision", precision), ("recall", recall), ("f1", f1)):
        found[f"macro_{name}"] = drawn.figure(partial(_macro, of=of))
        found[f"weighted_{name}"] = drawn.figure(partial(_weighted, of=of))
    found["balanced_accuracy"] = found["macro_recall"]
    found["kappa"] = drawn.figure(kappa, least=-1.0)
    return found


def _macro(counts: Counts, of: Callable[[Counts], Numbers]) -> Numbers:
    return macro(of(counts))


def _weighted(counts: Counts, of: Callable[[Counts], Numbers]) -> Numbers:
    return weighted(of(counts), counts.truth)


def _with_ends(
    name: str, values: Sequence[float] | Numbers, ends: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Columns of a figure and of both ends of its interval."""
    low, high = zip(*ends, strict=True)
    return {name: values, f"{name}_low": low, f"{name}_high": high}
