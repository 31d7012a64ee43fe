"""Detection of images whose label may be wrong, by confident learning.

A label is an issue if a model that was not trained on the image confidently predicts another class.
The confidence that is required of a class is the model's mean confidence in it over the images with
that label, so that a class that is hard to recognize does not fill the list.

Source: C. G. Northcutt, L. Jiang, I. L. Chuang, Confident Learning, J. Artif. Intell. Res. 70
(2021) 1373-1411: the confident joint (section 3.1), its off-diagonal entries (section 3.2) and the
normalized margin.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from veduta.types import FloatArray, IntArray

DIGITS = 4  # decimal places of probabilities in the table


def find_confident_classes(labels: IntArray, probabilities: FloatArray) -> IntArray:
    """Return the class that each image confidently belongs to, (N,); -1 if there is none.

    An image confidently belongs to a class if its probability is at least the mean probability of
    that class over the images with that label. If this holds for several classes, the most
    probable one is returned.

    Args:
        labels: (N,) given class of each image.
        probabilities: (N, classes), each row from a model that was not trained on the image.

    >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
    >>> find_confident_classes(np.array([0, 0, 1, 1]), probabilities)  # thresholds 0.55 and 0.8
    array([ 0,  1,  1, -1])
    """
    images = np.bincount(labels, minlength=probabilities.shape[1])
    self_confidence = np.bincount(
        labels, probabilities[np.arange(len(labels)), labels], len(images)
    )
    thresholds = np.where(images > 0, self_confidence / np.maximum(images, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    most_probable = confident.argmax(1)
    return np.where(confident.max(1, initial=-1.0) >= 0, most_probable, -1)


def find_label_issues(
    paths: Sequence[str], labels: IntArray, probabilities: FloatArray, classes: Sequence[str]
) -> pd.DataFrame:
    """Rank all images by how likely their label is wrong, most likely first.

    Args:
        paths: paths of the N images.
        labels: (N,) given class of each image.
        probabilities: (N, classes), each row from a model that was not trained on the image.
        classes: names of the classes.

    Returns:
        path, label, suggested_label (the confident class of an issue, otherwise the most probable
        other class), probability_of_label, probability_of_suggested, score and issue. `issue` marks
        images that confidently belong to another class than their label. Issues come first; within
        issues and other images, the order is by descending `score`, the probability of the most
        probable other class minus that of the label, in [-1, 1].
    """
    rows = np.arange(len(labels))
    confident = find_confident_classes(labels, probabilities)
    issue = (confident >= 0) & (confident != labels)
    label_probability = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    suggested = np.where(issue, confident, others.argmax(1))
    names = np.array([*classes, ""], dtype=object)
    table = pd.DataFrame(
        {
            "path": list(paths),
            "label": names[labels],
            "suggested_label": names[suggested],
            "probability_of_label": label_probability.round(DIGITS),
            "probability_of_suggested": probabilities[rows, suggested].round(DIGITS),
            "score": (others.max(1, initial=-1.0) - label_probability).round(DIGITS),
            "issue": issue,
        }
    )
    keys = ["issue", "score"]
    return table.sort_values(keys, ascending=False, kind="stable", ignore_index=True)
