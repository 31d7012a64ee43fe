"""ROC and precision-recall curves, one class against the rest, and the areas below them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.metrics.counts import Numbers, macro
from veduta.metrics.figures import Figure
from veduta.metrics.resampling import DRAWS, ENDS, image_draws

LEAST_DRAWS = 200
WORK = 1e7  # draws times images times classes, which a bootstrap may come to

Labels = NDArray[np.int64]
Scores = NDArray[np.floating[Any]]


def roc_curve(positive: NDArray[np.bool_], scores: Scores) -> pd.DataFrame:
    """False and true positive rate at every threshold where the curve turns.

    Args:
        positive: (N,) whether an image is of the class; some are and some are not.
        scores: (N,) the higher, the more it seems to be.
    """
    from sklearn.metrics import roc_curve as curve

    false_rate, true_rate, threshold = curve(positive, scores)
    columns = {"threshold": threshold, "false_rate": false_rate, "true_rate": true_rate}
    return pd.DataFrame(columns)


def precision_recall_curve(positive: NDArray[np.bool_], scores: Scores) -> pd.DataFrame:
    """Precision and recall at every threshold; arguments as for `roc_curve`."""
    from sklearn.metrics import precision_recall_curve as curve

    precision, recall, threshold = curve(positive, scores)
    columns = {"threshold": threshold, "precision": precision[:-1], "recall": recall[:-1]}
    return pd.DataFrame(columns)


def areas(
    truth: Labels, scores: Scores, classes: tuple[str, ...], *, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, Figure]]:
    """Areas below the curves of each class against the rest, and their means over the classes.

    `roc_auc` is the chance that an image of the class scores above one that is not; ties count
    half. `average_precision` is sum (recall_i - recall_(i-1)) precision_i, without interpolation.
    A class without images, or without others, has no areas. Intervals are bootstrap percentiles
    over images; where all draws agree, as where a class is told apart without a fault, they have
    nothing to say, and are left empty.

    Args:
        truth: (N,) class of each image.
        scores: (N, classes).
        classes: their names.
        seed: of the draws.

    Returns:
        A table with a row a class, and `macro_roc_auc` and `macro_average_precision`.
    """
    images = len(truth)
    draws = int(np.clip(WORK / max(1, images * len(classes)), LEAST_DRAWS, DRAWS))
    curves = [_areas_of(truth == k, scores[:, k]) for k in range(len(classes))]
    values = _stacked(curves, np.ones((1, images)))[0]
    blocks = image_draws(images, seed, draws) if images else ()
    drawn = np.concatenate([values[None][:0], *(_stacked(curves, block) for block in blocks)])
    columns: dict[str, Any] = {"class": list(classes)}
    columns["images"] = np.bincount(truth, minlength=len(classes))
    means = {}
    for place, name in enumerate(("roc_auc", "average_precision")):
        low, high = _ends(drawn[:, place], values[place])
        columns |= {name: values[place], f"{name}_low": low, f"{name}_high": high}
        value = macro(values[place])
        low, high = _ends(macro(drawn[:, place])[:, None], value[None])
        means[f"macro_{name}"] = Figure(float(value), float(low[0]), float(high[0]), images)
    return pd.DataFrame(columns), means


def _stacked(curves: list[Callable[[Numbers], Numbers]], block: Numbers) -> Numbers:
    """Areas (draws, 2, classes) of a block of draws (draws, images)."""
    return np.stack([areas_of(block) for areas_of in curves], axis=-1)


def _areas_of(positive: NDArray[np.bool_], scores: Scores) -> Callable[[Numbers], Numbers]:
    """What gives both areas (draws, 2) of one class, for how often each image is drawn."""
    order = np.argsort(-scores, kind="stable")
    right = positive[order].astype(np.float64)
    last = np.append(np.diff(scores[order]) != 0, True) if len(order) else np.zeros(0, bool)

    def areas_of(drawn: Numbers) -> Numbers:
        ordered = drawn[:, order]
        found = np.cumsum(ordered * right, axis=1)[:, last]  # of the class, at or above a score
        every = np.cumsum(ordered, axis=1)[:, last]
        gained = np.diff(found, axis=1, prepend=0)
        others = every - found
        passed = np.diff(others, axis=1, prepend=0)
        ours, theirs = gained.sum(1), passed.sum(1)
        precise = np.divide(found, every, out=np.zeros_like(found), where=every > 0)
        both = np.stack([(passed * (found - gained / 2)).sum(1), (gained * precise).sum(1)], 1)
        below = np.stack([ours * theirs, ours], 1)
        possible = (ours > 0) & (theirs > 0)
        return np.where(possible[:, None], both / np.where(below > 0, below, 1), np.nan)

    return areas_of


def _ends(drawn: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """Percentiles of each column; NaN where it has no value, or its draws do not vary."""
    there = ~np.isnan(drawn).all(0) if len(drawn) else np.zeros(len(values), bool)
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    if there.any():
        low[there], high[there] = np.nanquantile(drawn[:, there], ENDS, axis=0)
    silent = np.isnan(values) | (low == high)
    return np.where(silent, np.nan, low), np.where(silent, np.nan, high)
