r"""Transfer learning's yardstick (report section 4.9): top-1 and top-5 accuracy.

Shapes: scores are (N, classes), any function that grows with the probability; labels are (N,).
"""

import numpy as np

from veduta.foundations.arrays import Array, Integers, require, require_labels


def top_k_accuracy(scores: Array, labels: Integers, *, k: int) -> float:
    r"""Section 4.9: the share of samples whose label is among the k highest scores.

    Of equal scores the lower class number counts as the higher score, so that the answer never
    depends on a sorting method.

    Raises:
        ValueError: k is not in 1..classes, a label is out of range, a score is NaN.

    >>> scores = np.array([[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]])
    >>> [top_k_accuracy(scores, np.array([2, 0]), k=k) for k in (1, 2)]
    [0.5, 1.0]
    """
    require(scores.ndim == 2, "scores are (N, classes)", scores.shape)
    samples, classes = scores.shape
    require(1 <= k <= classes and samples, f"k lies in 1..{classes}, for one sample or more", k)
    require(not np.isnan(scores).any(), "scores are numbers", "NaN")
    require_labels(labels, samples, classes)
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((ranked == labels[:, None]).any(axis=1).mean())


def top_1_accuracy(scores: Array, labels: Integers) -> float:
    r"""Section 4.9: the highest score is the label's.

    >>> top_1_accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    return top_k_accuracy(scores, labels, k=1)


def top_5_accuracy(scores: Array, labels: Integers) -> float:
    r"""Section 4.9: the label's score is among the five highest.

    >>> top_5_accuracy(np.array([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]]), np.array([4]))
    1.0
    """
    return top_k_accuracy(scores, labels, k=5)
