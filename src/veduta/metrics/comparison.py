"""Whether two classifiers differ, measured on the same images."""

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]


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
