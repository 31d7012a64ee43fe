r"""Checks of equations: each computes the same values in two independent ways.

The checks of each section are listed in the `checks_*` modules; `equations.run_checks` runs them.
Numerical gradients are central differences: their truncation error is O(h^2) and their rounding
error O(\epsilon / h), so a step h near the cube root of \epsilon leaves about ten correct digits.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from veduta.foundations.arrays import Array

STEP = float(np.cbrt(np.finfo(np.float64).eps))


def numerical_gradient(f: Callable[[Array], float], x: Array, *, step: float = STEP) -> Array:
    r"""Central differences: \partial f / \partial x_i \approx (f(x + h e_i) - f(x - h e_i)) / 2h.

    Args:
        f: a scalar function of an array in the shape of x.
        x: the point at which the gradient is computed, of any shape; it is not modified.
        step: h, the step size.

    Returns:
        The gradient, in the shape of x.

    >>> numerical_gradient(lambda x: float((x**2).sum()), np.array([1.0, -3.0])).round(6)
    array([ 2., -6.])
    """
    gradient = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        ahead, behind = (np.array(x, dtype=np.float64) for _ in range(2))
        ahead[i] += step
        behind[i] -= step
        gradient[i] = (f(ahead) - f(behind)) / (ahead[i] - behind[i])
    return gradient


def relative_error(a: Array | float, b: Array | float) -> float:
    r"""Relative distance of two arrays: \|a - b\| / (\|a\| + \|b\|), or 0 if both are zero.

    >>> relative_error(np.array([3.0, 4.0]), np.array([3.0, 4.0]))
    0.0
    >>> relative_error(1.0, -1.0)
    1.0
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"both arrays must have the same shape; got {a.shape} and {b.shape}")
    size = float(np.linalg.norm(a) + np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / size if size else 0.0


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
