r"""Numerical gradients by central differences, and a relative error to compare gradients.

The truncation error of a central difference is O(h^2) and its rounding error O(\epsilon / h). A
step h near the cube root of \epsilon balances the two and leaves about ten correct digits.
"""

from collections.abc import Callable

import numpy as np

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
