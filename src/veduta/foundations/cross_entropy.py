r"""The learning slow-down, and the cost that avoids it (report section 1.2.2, equations 22-25).

A sigmoid that is sure and wrong is saturated: psi' is close to 0, and with the square error its
weights hardly move. The cross entropy's gradient has no psi'. Shapes: y, a and z are (N, n).
"""

import numpy as np

from veduta.foundations.activations import sigmoid
from veduta.foundations.arrays import (
    Array,
    require,
    require_layers,
    require_probabilities,
    require_same_shape,
)


def square_error_delta(y: Array, a: Array, *, slope: Array) -> Array:
    r"""Equation 22: \delta_j^L = (a_j^L - y_j) \psi'(z_j^L).

    Args:
        y: what the net should give, (N, n).
        a: a^L, what it gives, (N, n).
        slope: \psi'(z^L), (N, n).

    >>> square_error_delta(np.array([[0.0]]), np.array([[1.0]]), slope=np.array([[0.25]]))
    array([[0.25]])
    """
    require_same_shape(y, a, "y and a")
    require_same_shape(a, slope, "a and slope")
    return (a - y) * slope


def square_error_weight_gradient(delta: Array, a_before: Array) -> Array:
    r"""Equation 23: \partial C / \partial w_{jk}^L = a_k^{L-1} (a_j^L - y_j) \psi'(z_j^L).

    Args:
        delta: \delta^L, of (22), (N, n).
        a_before: a^{L-1}, what the last layer receives, (N, m).

    Returns:
        Each sample's own gradient, (N, n, m).

    >>> square_error_weight_gradient(np.array([[0.25]]), np.array([[2.0, 4.0]]))
    array([[[0.5, 1. ]]])
    """
    require_layers(delta, a_before)
    return delta[:, :, None] * a_before[:, None, :]


def cross_entropy(y: Array, a: Array) -> Array:
    r"""Equation 24: C = -\sum_j \left[ y_j \ln a_j^L + (1 - y_j) \ln(1 - a_j^L) \right].

    0 ln 0 counts as 0; a sure and wrong answer costs infinity, unless it is
    computed from z, by `cross_entropy_of_output`.

    Args:
        y: what the net should give, in [0, 1], (N, n).
        a: a^L, probabilities, (N, n).

    >>> cross_entropy(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])).round(4)
    array([1.3863])
    """
    require_targets(y, a, "a")
    require_probabilities(a, "a")
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(y > 0, y * np.log(a), 0) + np.where(y < 1, (1 - y) * np.log1p(-a), 0)
    return -np.asarray(terms.sum(axis=-1))


def cross_entropy_gradient(y: Array, a: Array) -> Array:
    r"""Gradient of (24): \partial C / \partial a_j = (a_j - y_j) / (a_j (1 - a_j)).

    >>> cross_entropy_gradient(np.array([[1.0]]), np.array([[0.5]]))
    array([[-2.]])
    """
    require_targets(y, a, "a")
    require(np.all((a > 0) & (a < 1)), "a holds probabilities strictly between 0 and 1", a)
    return (a - y) / (a * (1 - a))


def cross_entropy_of_output(y: Array, z: Array) -> Array:
    r"""Equation 24 from z: C = \sum_j \max(z_j, 0) - y_j z_j + \ln(1 + e^{-|z_j|}).

    The same number as (24) with a = \sigma(z), without overflow or \ln 0.

    >>> cross_entropy_of_output(np.array([[0.0, 1.0]]), np.array([[1e4, 1e4]]))
    array([10000.])
    """
    require_targets(y, z, "z")
    return np.asarray((np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))).sum(axis=-1))


def cross_entropy_delta(y: Array, z: Array) -> Array:
    r"""Derivative of (24) by z: \delta_j^L = \sigma(z_j^L) - y_j; psi' has cancelled.

    >>> cross_entropy_delta(np.array([[1.0]]), np.array([[0.0]]))
    array([[-0.5]])
    """
    require_targets(y, z, "z")
    return sigmoid(z) - y


def cross_entropy_weight_gradient(y: Array, a: Array, *, a_before: Array) -> Array:
    r"""Equation 25: \partial C / \partial w_{jk}^L = a_k^{L-1} (a_j^L - y_j).

    Args:
        y: what the net should give, (N, n).
        a: a^L, what it gives, (N, n).
        a_before: a^{L-1}, what the last layer receives, (N, m).

    Returns:
        Each sample's own gradient, (N, n, m).

    >>> cross_entropy_weight_gradient(
    ...     np.array([[1.0]]), np.array([[0.5]]), a_before=np.array([[2.0, 4.0]])
    ... )
    array([[[-1., -2.]]])
    """
    require_targets(y, a, "a")
    require_probabilities(a, "a")
    require_layers(a, a_before)
    return (a - y)[:, :, None] * a_before[:, None, :]


def require_targets(y: Array, given: Array, name: str) -> None:
    """Raise ValueError unless y is what an output of probabilities should give."""
    require_same_shape(y, given, f"y and {name}")
    require_probabilities(y, "y")
