"""Intervals: how far a measured share may be from the true one."""

from typing import NamedTuple


class Interval(NamedTuple):
    """A 95 % confidence interval of a share, both ends in [0, 1]."""

    low: float
    high: float


def wilson(hits: int, images: int) -> Interval:
    """Wilson's score interval of `hits` out of `images`, at 95 %.

    With p = hits / images, z = 1.96: the p0 for which |p - p0| <= z sqrt(p0 (1 - p0) / images).
    It keeps its coverage near 0 and 1, where accuracies live, unlike p +- z * standard error.

    >>> low, high = wilson(92, 100)
    >>> round(low, 4), round(high, 4)
    (0.85, 0.9589)

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.
    """
    from scipy.stats import binomtest

    found = binomtest(hits, images).proportion_ci(0.95, method="wilson")
    return Interval(float(found.low), float(found.high))
