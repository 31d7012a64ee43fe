"""What a check is: a claim, two ways to the same numbers, and how far apart they may be."""

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
    """A claim about an equation; `both` computes the two sides that it says are equal."""

    claim: str
    both: Callable[[], Pair]
    limit: float = EXACT

    def error(self) -> float:
        """How far the two sides are apart, by their size; infinite where they cannot be compared.

        They cannot where one is not finite, or a function refuses what another gave it.

        >>> Check("1 is 1", lambda: (1.0, 1.0)).error()
        0.0
        """
        try:
            computed, expected = (np.asarray(side, dtype=np.float64) for side in self.both())
            error = relative_error(computed, expected)
        except ValueError:
            return np.inf
        return error if np.isfinite(error) else np.inf


def differences(
    claim: str, derivative: Callable[[], Array], f: Callable[[Array], Array | float], x: Array
) -> Check:
    """The check that `derivative` is that of f at x, all entries of f added up."""
    return Check(
        f"{claim} against central differences",
        lambda: (derivative(), numerical_gradient(lambda at: float(np.sum(f(at))), x)),
        GRADIENT,
    )


def draw(*shape: int, seed: int = 0) -> Array:
    """Normal numbers, the same at every call.

    >>> draw(2).round(3)
    array([ 0.126, -0.132])
    """
    return np.random.default_rng(seed).standard_normal(shape)
