"""Figures of a classifier, from true and predicted labels; scikit-learn computes what it has."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.metrics.intervals import wilson

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
            "accuracy": self.accuracy,
            "low": self.low,
            "high": self.high,
            "images": self.images,
        }

    def __str__(self) -> str:
        return (
            f"{self.accuracy:.1%} (95 % interval {self.low:.1%} to {self.high:.1%}, "
            f"{self.images} images)"
        )


def accuracy(truth: Labels, predicted: Labels) -> Accuracy:
    """The share of `predicted` (N,) that equals `truth` (N,).

    >>> str(accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])))
    '75.0% (95 % interval 30.1% to 95.4%, 4 images)'
    """
    hits = int((truth == predicted).sum())
    return Accuracy(hits / len(truth), *wilson(hits, len(truth)), images=len(truth))


def confusion(truth: Labels, predicted: Labels, classes: tuple[str, ...]) -> pd.DataFrame:
    """How often each class (row: the truth) was taken for each (column: the prediction)."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(truth, predicted, labels=range(len(classes)))
    return pd.DataFrame(counts, index=list(classes), columns=list(classes))


def per_class(truth: Labels, predicted: Labels, classes: tuple[str, ...]) -> pd.DataFrame:
    """Precision, recall with its interval, F1 and images of each class, one row a class.

    A figure that nothing was measured for (a class without images has no recall, one never
    predicted no precision) is left empty, not 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, images = precision_recall_fscore_support(
        truth, predicted, labels=range(len(classes)), zero_division=np.nan
    )
    hits = np.bincount(truth[truth == predicted], minlength=len(classes))
    bounds = [
        wilson(int(h), int(n)) if n else (np.nan, np.nan) for h, n in zip(hits, images, strict=True)
    ]
    return pd.DataFrame(
        {
            "class": list(classes),
            "images": images,
            "precision": precision,
            "recall": recall,
            "recall_low": [low for low, _ in bounds],
            "recall_high": [high for _, high in bounds],
            "f1": f1,
        }
    )
