"""Checks of equations: each computes the same values in two independent ways.

The checks of each section are listed in the `checks_*` modules; `equations.run_checks` runs them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from veduta.foundations.arrays import Array
from veduta.foundations.gradcheck import numerical_gradient, relative_error

EXACT = 1e-12
GRADIENT = 1e-6

Pair = tuple[ArrayLike, ArrayLike]


class Check(NamedTuple):
    """A claim about an equation: both arrays returned by `compute` are equal, up to `limit`."""

    claim: str
    compute: Callable[[], Pair]
    limit: float = EXACT

    def error(self) -> float:
        """Return the relative error between the two sides.

        The error is infinite if a side is not finite, if the shapes differ, or if a function
        raises ValueError.

        >>> Check("1 is 1", lambda: (1.0, 1.0)).error()
        0.0
        """
        try:
            computed, expected = (np.asarray(side, dtype=np.float64) for side in self.compute())
            error = relative_error(computed, expected)
        except ValueError:
            return np.inf
        return error if np.isfinite(error) else np.inf


class Outcome(NamedTuple):
    """The result of one check."""

    claim: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the relative error is within the limit."""
        return self.error <= self.limit


def make_gradient_check(
    claim: str, derivative: Callable[[], Array], f: Callable[[Array], Array | float], x: Array
) -> Check:
    """Return the check that `derivative` computes the gradient at x of the sum of f's entries."""
    return Check(
        f"{claim} against central differences",
        lambda: (derivative(), numerical_gradient(lambda at: float(np.sum(f(at))), x)),
        GRADIENT,
    )


def draw_normal(*shape: int, seed: int = 0) -> Array:
    """Return standard normal random numbers that depend only on the shape and the seed.

    >>> draw_normal(2).round(3)
    array([ 0.126, -0.132])
    """
    return np.random.default_rng(seed).standard_normal(shape)
