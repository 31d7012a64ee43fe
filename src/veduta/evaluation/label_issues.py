"""Images whose label may be wrong, by confident learning.

A model that has not seen an image contradicts its label. Whether the contradiction counts is
measured by how sure the model is of each class where that is the label: so a class that it finds
hard does not fill the list.

Source: C. G. Northcutt, L. Jiang, I. L. Chuang, Confident Learning, J. Artif. Intell. Res. 70
(2021) 1373-1411: the confident joint (section 3.1), its off-diagonal (section 3.2), normalised
margin.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.metrics.counts import Numbers

DIGITS = 4

Labels = NDArray[np.int64]


def confident_class(labels: Labels, probabilities: Numbers) -> Labels:
    """The class that each image confidently belongs to, (N,); -1 where there is none.

    A class is confident of an image where its probability reaches the mean probability of that
    class over the images with that label; among several, the most probable one counts.

    Args:
        labels: (N,) as given.
        probabilities: (N, classes), each row by a model that was not trained on the image.
    """
    images = np.bincount(labels, minlength=probabilities.shape[1])
    own = np.bincount(labels, probabilities[np.arange(len(labels)), labels], len(images))
    thresholds = np.where(images > 0, own / np.maximum(images, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = confident.argmax(1)
    return np.where(confident.max(1, initial=-1.0) >= 0, best, -1)


def confident_joint(labels: Labels, probabilities: Numbers) -> NDArray[np.int64]:
    """How many images of each label (row) confidently belong to each class (column).

    >>> labels = np.array([0, 0, 1, 1])
    >>> sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
    >>> confident_joint(labels, sure)  # thresholds 0.55 and 0.8
    array([[1, 1],
           [0, 1]])
    """
    found = confident_class(labels, probabilities)
    joint = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(joint, (labels[found >= 0], found[found >= 0]), 1)
    return joint


def label_issues(
    paths: Sequence[str], labels: Labels, probabilities: Numbers, classes: Sequence[str]
) -> pd.DataFrame:
    """Every image, the one whose label is the most doubtful first.

    Args:
        paths: of N images.
        labels: (N,) as given.
        probabilities: (N, classes), each row by a model that was not trained on the image.
        classes: their names.

    Returns:
        path, label, suggested (the confident class of an issue, else the most probable other),
        probability_of_label, probability_of_suggested, score and issue. `issue` marks the images
        off the diagonal of the confident joint, which come first; within, they go by `score`, the
        margin from -1 to 1 by which the most probable other class exceeds the label.
    """
    rows = np.arange(len(labels))
    found = confident_class(labels, probabilities)
    issue = (found >= 0) & (found != labels)
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    suggested = np.where(issue, found, others.argmax(1))
    names = np.array([*classes, ""], dtype=object)
    table = pd.DataFrame(
        {
            "path": list(paths),
            "label": names[labels],
            "suggested": names[suggested],
            "probability_of_label": own.round(DIGITS),
            "probability_of_suggested": probabilities[rows, suggested].round(DIGITS),
            "score": (others.max(1, initial=-1.0) - own).round(DIGITS),
            "issue": issue,
        }
    )
    first = ["issue", "score"]
    return table.sort_values(first, ascending=False, kind="stable", ignore_index=True)
