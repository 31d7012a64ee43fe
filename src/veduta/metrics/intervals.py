"""Estimates with 95 % confidence intervals, and the intervals of proportions."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, final


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """The value of a metric, its 95 % confidence interval and the number of images behind it.

    A value that is undefined, such as the recall of a class without images, is NaN.
    """

    value: float
    low: float
    high: float
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate as written to summary.json, with None for NaN.

        >>> Estimate(0.5, 0.25, 0.75, 8).as_dict()
        {'value': 0.5, 'low': 0.25, 'high': 0.75, 'images': 8}
        """
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {
            **{name: nan_to_none(number) for name, number in numbers.items()},
            "images": self.images,
        }

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "not measured"
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f})"


def nan_to_none(number: float) -> float | None:
    """Return None for NaN, which JSON does not have, and any other number as a float."""
    return None if math.isnan(number) else float(number)


class Interval(NamedTuple):
    """A 95 % confidence interval of a proportion; both ends are in [0, 1]."""

    low: float
    high: float


def estimate_proportion(successes: int, trials: int) -> Estimate:
    """Estimate a proportion with its Wilson interval; the value is NaN without trials.

    >>> str(estimate_proportion(3, 4))
    '0.750 (95 % interval 0.301 to 0.954)'
    """
    value = successes / trials if trials else math.nan
    return Estimate(value, *compute_wilson_interval(successes, trials), images=trials)


def compute_wilson_interval(successes: int, trials: int) -> Interval:
    """Compute Wilson's 95 % score interval of a proportion.

    With p = successes / trials and z = 1.96 it contains every p0 for which
    |p - p0| <= z sqrt(p0 (1 - p0) / trials). Unlike p +- z * standard error, it keeps its
    coverage for proportions near 0 and 1. Without trials it is [0, 1].

    >>> low, high = compute_wilson_interval(92, 100)
    >>> round(low, 4), round(high, 4)
    (0.85, 0.9589)

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.
    """
    from scipy.stats import binomtest

    if not trials:
        return Interval(0.0, 1.0)
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def compute_upper_bound(successes: int, trials: int, level: float) -> float:
    """Compute the exact one-sided upper confidence bound of a proportion (Clopper-Pearson).

    The bound is the largest p for which at most `successes` out of `trials` have a probability of
    1 - level, that is the `level` quantile of Beta(successes + 1, trials - successes). Its coverage
    is at least `level` for every p.

    >>> round(compute_upper_bound(0, 149, 0.95), 4)  # fewest images for a bound below 2 %
    0.0199

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413.
    """
    from scipy.stats import beta

    if successes >= trials:
        return 1.0
    return float(beta.ppf(level, successes + 1, trials - successes))
