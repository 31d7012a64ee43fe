"""Whether two classifiers differ, measured on the same images."""

import numpy as np
from numpy.typing import NDArray

from veduta.metrics.counts import accuracy_of, macro_f1
from veduta.metrics.figures import Figure
from veduta.metrics.resampling import resampled, shifted

Hits = NDArray[np.bool_]
Labels = NDArray[np.int64]


def mcnemar(first: Hits, second: Hits) -> float:
    """Two-sided p-value of McNemar's exact test that two classifiers are equally often right.

    Args:
        first: (N,) whether the first was right, image by image.
        second: (N,) the same of the second.

    Only images on which exactly one is right tell them apart; were the two equally good, each such
    image would be a fair coin.

    >>> a = np.array([True] * 9 + [False] * 3)
    >>> mcnemar(a, ~a)
    0.1459960937...

    Source: Q. McNemar, Psychometrika 12 (1947) 153-157.
    """
    from scipy.stats import binomtest

    won = int((first & ~second).sum())
    lost = int((second & ~first).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def holm(p_values: list[float]) -> list[float]:
    """P-values corrected for how many there are, by Holm's step-down rule.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Source: S. Holm, Scand. J. Stat. 6 (1979) 65-70.
    """
    corrected = [0.0] * len(p_values)
    reached = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = reached
    return corrected


def paired_differences(
    truth: Labels, first: Labels, second: Labels, *, classes: int, seed: int = 0
) -> dict[str, Figure]:
    """By how much the second classifier is better: `accuracy` and `macro_f1`, with intervals.

    Both are judged on the images of each draw (`metrics.resampling`), so what an image has in
    store for both cancels out.

    Args:
        truth: (N,) class of each image.
        first: (N,) what the first took it for.
        second: (N,) what the second took it for.
        classes: how many there are.
        seed: of the draws.

    >>> truth = np.zeros(100, int)
    >>> first, second = (np.arange(100) < n for n in (20, 10))  # errors, half of them shared
    >>> found = paired_differences(truth, first.astype(int), second.astype(int), classes=2)
    >>> str(found["accuracy"])
    '0.100 (95 % interval 0.040 to 0.160)'
    """
    one, other = resampled(truth, [first, second], classes=classes, seed=seed)
    found = {}
    for name, of in (("accuracy", accuracy_of), ("macro_f1", macro_f1)):
        draws, centre, value = (
            np.atleast_1d(of(getattr(other, kind)) - of(getattr(one, kind)))
            for kind in ("draws", "centre", "measured")
        )
        low, high = shifted(draws[:, None], centre, value)
        found[name] = Figure(float(value[0]), float(low[0]), float(high[0]), len(truth))
    return found
