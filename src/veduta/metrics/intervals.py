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
    No image leaves every share possible.

    >>> low, high = wilson(92, 100)
    >>> round(low, 4), round(high, 4)
    (0.85, 0.9589)

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.
    """
    from scipy.stats import binomtest

    if not images:
        return Interval(0.0, 1.0)
    found = binomtest(hits, images).proportion_ci(0.95, method="wilson")
    return Interval(float(found.low), float(found.high))


def upper_bound(errors: int, images: int, level: float) -> float:
    """Clopper and Pearson's one-sided upper bound of a share, exact: `level` is never fallen below.

    The largest p for which `errors` or fewer out of `images` have a probability of 1 - level:
    the `level` quantile of Beta(errors + 1, images - errors).

    >>> round(upper_bound(0, 149, 0.95), 4)  # the fewest images that show an error below 2 %
    0.0199

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413.
    """
    from scipy.stats import beta

    return 1.0 if errors >= images else float(beta.ppf(level, errors + 1, images - errors))
