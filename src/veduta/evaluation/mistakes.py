"""Analysis of mistakes: confident errors, confused classes, and most similar training images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from veduta.types import AnyFloatArray, FloatArray, IndexArray, IntArray

QUERIES_PER_BLOCK = 1024
MIN_NAMED_FRACTION = 0.2  # fraction of all errors from which on a pair of classes is named
MAIN_FRACTION = 0.5  # fraction of all errors from which on the named pairs are the main confusions


def tabulate_predictions(
    paths: Sequence[str], y_true: IntArray, probabilities: FloatArray, classes: Sequence[str]
) -> pd.DataFrame:
    """Build a table with one row per image from the probabilities of a model.

    Args:
        paths: paths of the N images.
        y_true: (N,) true class of each image.
        probabilities: (N, classes).
        classes: names of the classes.

    Returns:
        path, y_true (name of the true class), y_pred (of the predicted class), probability (of the
        predicted class) and probability_of_true (of the true class).
    """
    rows, y_pred = np.arange(len(y_true)), probabilities.argmax(1)
    names = np.array([*classes, ""], dtype=object)
    return pd.DataFrame(
        {
            "path": list(paths),
            "y_true": names[y_true],
            "y_pred": names[y_pred],
            "probability": probabilities[rows, y_pred],
            "probability_of_true": probabilities[rows, y_true],
        }
    )


def select_confident_errors(images: pd.DataFrame) -> pd.DataFrame:
    """Select the incorrect predictions of `tabulate_predictions`, most confident first."""
    errors = images[images["y_true"] != images["y_pred"]]
    return errors.sort_values("probability", ascending=False, kind="stable", ignore_index=True)


def select_uncertain_correct(images: pd.DataFrame) -> pd.DataFrame:
    """Select the correct predictions of `tabulate_predictions`, least confident first."""
    correct = images[images["y_true"] == images["y_pred"]]
    return correct.sort_values("probability", kind="stable", ignore_index=True)


def group_by_cell(images: pd.DataFrame, *, limit: int) -> dict[tuple[str, str], pd.DataFrame]:
    """Group predictions by the cell (true class, predicted class) of the confusion matrix.

    Cells are in descending order of their number of images. Each holds at most `limit` images: the
    most confident errors, or in the cells of the diagonal the least confident correct predictions.
    """
    cells = {}
    for (y_true, y_pred), cell_images in images.groupby(["y_true", "y_pred"], sort=True):
        select = select_uncertain_correct if y_true == y_pred else select_confident_errors
        cells[str(y_true), str(y_pred)] = len(cell_images), select(cell_images).head(limit)
    by_size = sorted(cells.items(), key=lambda item: -item[1][0])
    return {cell: table for cell, (_, table) in by_size}


def find_confused_pairs(confusion: pd.DataFrame) -> pd.DataFrame:
    """Rank the pairs of classes that are confused with each other by their number of errors.

    Args:
        confusion: confusion matrix; rows are true classes, columns predicted classes, in the same
            order.

    Returns:
        first, second (names), first_as_second and second_as_first (errors in each direction),
        errors (in both directions) and share (fraction of all errors).

    >>> counts = pd.DataFrame([[9, 3, 0], [1, 8, 0], [0, 1, 9]], index=[*"abc"], columns=[*"abc"])
    >>> find_confused_pairs(counts).to_numpy().tolist()
    [['a', 'b', 3, 1, 4, 0.8], ['b', 'c', 0, 1, 1, 0.2]]
    """
    counts, names = confusion.to_numpy(), list(confusion.index)
    first, second = np.triu_indices(len(names), 1)
    first_as_second, second_as_first = counts[first, second], counts[second, first]
    errors = first_as_second + second_as_first
    total = max(1, int(errors.sum()))
    order = [pair for pair in np.argsort(-errors, kind="stable") if errors[pair]]
    return pd.DataFrame(
        {
            "first": [names[first[pair]] for pair in order],
            "second": [names[second[pair]] for pair in order],
            "first_as_second": first_as_second[order],
            "second_as_first": second_as_first[order],
            "errors": errors[order],
            "share": errors[order] / total,
        }
    )


def describe_confused_pairs(pairs: pd.DataFrame) -> tuple[Sequence[tuple[str, str]], str]:
    """Return the pairs of classes that a sentence names, and the rest of the sentence.

    Pairs with at least a fifth of all errors are named. If there is none, the pair with most errors
    is named, and the sentence says that the errors are spread over more pairs.

    >>> table = pd.DataFrame({"first": ["a"], "second": ["b"], "errors": [4], "share": [0.8]})
    >>> describe_confused_pairs(table)
    ([('a', 'b')], 'account for 4 of 5 errors (80%).')
    """
    if not len(pairs):
        return [], "No image was assigned to a wrong class."
    total = round(pairs["errors"].iloc[0] / pairs["share"].iloc[0])
    named = pairs[pairs["share"] >= MIN_NAMED_FRACTION]
    if not len(named):
        named = pairs.head(1)
    errors = int(named["errors"].sum())
    fraction = f"{errors:,} of {total:,} errors ({errors / total:.0%})"
    names = list(zip(named["first"], named["second"], strict=True))
    if errors >= MAIN_FRACTION * total:
        return names, f"account for {fraction}."
    rest = "the other errors are spread over more pairs"
    return names, f"are confused most often, with {fraction}; {rest}."


def find_nearest(
    queries: AnyFloatArray, references: AnyFloatArray, *, count: int = 5
) -> tuple[IndexArray, FloatArray]:
    """Find the `count` references most similar to each query by cosine similarity.

    Args:
        queries: (N, features), for example of misclassified images.
        references: (M, features), for example of all training images.
        count: number of references per query.

    Returns:
        Row indices of `references` and their cosine similarities, both (N, count), most similar
        first; ties are in the order of rows. The similarity to an all-zero vector is 0.

    >>> references = np.array([[0.0, 2.0], [3.0, 3.0], [5.0, 0.0]])
    >>> find_nearest(np.array([[1.0, 0.0]]), references, count=2)[0]
    array([[2, 1]])
    """
    count = min(count, len(references))
    unit_references = _normalize_rows(references)
    indices = np.zeros((len(queries), count), np.intp)
    similarities = np.zeros((len(queries), count))
    for start in range(0, len(queries), QUERIES_PER_BLOCK):
        block = slice(start, start + QUERIES_PER_BLOCK)
        cosines = _normalize_rows(queries[block]) @ unit_references.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        indices[block] = order
        similarities[block] = np.take_along_axis(cosines, order, axis=1)
    return indices, similarities


def _normalize_rows(features: AnyFloatArray) -> AnyFloatArray:
    """Scale rows to unit length; all-zero rows stay zero."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit: AnyFloatArray = features / np.where(norms > 0, norms, 1)
    return unit
