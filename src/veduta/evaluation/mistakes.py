"""Which images a model gets wrong, how sure it was, and what it learnt from that is like them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.metrics.counts import Numbers

ROWS = 1024  # images compared at once

Labels = NDArray[np.int64]
Features = NDArray[np.floating[Any]]


def judged_images(
    paths: Sequence[str], truth: Labels, probabilities: Numbers, classes: Sequence[str]
) -> pd.DataFrame:
    """A row an image: path, truth, label, probability (of the label), probability_of_truth.

    Args:
        paths: of N images.
        truth: (N,) class of each.
        probabilities: (N, classes).
        classes: their names.
    """
    rows, predicted = np.arange(len(truth)), probabilities.argmax(1)
    names = np.array([*classes, ""], dtype=object)
    return pd.DataFrame(
        {
            "path": list(paths),
            "truth": names[truth],
            "label": names[predicted],
            "probability": probabilities[rows, predicted],
            "probability_of_truth": probabilities[rows, truth],
        }
    )


def confident_errors(images: pd.DataFrame) -> pd.DataFrame:
    """The wrong ones of `judged_images`, the most confident first."""
    wrong = images[images["truth"] != images["label"]]
    return wrong.sort_values("probability", ascending=False, kind="stable", ignore_index=True)


def unsure_hits(images: pd.DataFrame) -> pd.DataFrame:
    """The right ones of `judged_images`, the least confident first."""
    right = images[images["truth"] == images["label"]]
    return right.sort_values("probability", kind="stable", ignore_index=True)


def by_cell(images: pd.DataFrame, *, most: int) -> dict[tuple[str, str], pd.DataFrame]:
    """Images of each cell (truth, label) of the confusion matrix: at most `most`, the surest first.

    Cells with most images come first; in the diagonal, images that are right, the least sure come
    first, since these can teach something.
    """
    cells = {}
    for (truth, label), found in images.groupby(["truth", "label"], sort=True):
        ordered = unsure_hits(found) if truth == label else confident_errors(found)
        cells[str(truth), str(label)] = len(found), ordered.head(most)
    largest = sorted(cells.items(), key=lambda cell: -cell[1][0])
    return {cell: table for cell, (_, table) in largest}


def nearest(
    queries: Features, references: Features, *, count: int = 5
) -> tuple[NDArray[np.intp], Numbers]:
    """The `count` references most like each query, by the cosine of their features.

    Args:
        queries: (N, features), such as of the images that were got wrong.
        references: (M, features), such as of all training images.
        count: how many for each.

    Returns:
        Rows of `references` and their cosines, both (N, count), the most alike first; equals go by
        row. Features that are all 0 are like nothing: their cosine is 0.

    >>> nearest(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 3.0], [5.0, 0.0]]), count=2)[0]
    array([[2, 1]])
    """
    count = min(count, len(references))
    target = _unit(references)
    rows = np.zeros((len(queries), count), np.intp)
    cosines = np.zeros((len(queries), count))
    for start in range(0, len(queries), ROWS):
        alike = _unit(queries[start : start + ROWS]) @ target.T
        order = np.argsort(-alike, axis=1, kind="stable")[:, :count]
        rows[start : start + ROWS] = order
        cosines[start : start + ROWS] = np.take_along_axis(alike, order, axis=1)
    return rows, cosines


def _unit(features: Features) -> Features:
    """Rows of length 1."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    found: Features = features / np.where(length > 0, length, 1)
    return found
