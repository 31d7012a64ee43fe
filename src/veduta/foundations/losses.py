r"""What a training set costs, and which way is down (report section 1.2.2, equations 17-21).

Shapes: N samples of n outputs; y and a are (N, n). A sample's cost is one number, so costs are
(N,). Equations 22-25, one cost against another, stand in `cross_entropy`.
"""

import numpy as np

from veduta.foundations.arrays import (
    Array,
    Integers,
    require,
    require_pairs,
    require_same_shape,
    whole_below,
)


def training_set(x: Array, y: Array) -> list[tuple[Array, Array]]:
    r"""Equation 17: \mathcal{D} = \{(x^i, y^i)\}_{i=1}^{N_p}.

    Args:
        x: inputs, (N, ...).
        y: what each should give, (N, ...).

    Returns:
        N_p pairs.

    >>> training_set(np.array([[2.0, 7.0]]), np.array([[11.0]]))
    [(array([2., 7.]), array([11.]))]
    """
    require_pairs(x, y)
    return list(zip(x, y, strict=True))


def total_cost(costs: Array) -> float:
    r"""Equation 18: C = \sum_{i=1}^{N_p} C^{(i)}(y^i; a^{(i)L}).

    Args:
        costs: C^{(i)}, one number a sample, (N,).

    >>> total_cost(square_error(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]])))
    2.5
    """
    require(costs.ndim == 1, "costs hold one number a sample, (N,)", costs.shape)
    return float(costs.sum())


def square_error(y: Array, a: Array) -> Array:
    r"""Section 1.2.1, a sample's cost: C^{(i)} = \frac{1}{2} \|y^i - a^{(i)L}\|^2.

    >>> square_error(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]]))
    array([2.])
    """
    require_same_shape(y, a, "y and a")
    return np.asarray(((y - a) ** 2).sum(axis=-1)) / 2


def mean_square_error(y: Array, a: Array) -> float:
    r"""Equation 19: C = \frac{1}{2 N_p} \sum_{i=1}^{N_p} \|y^i - a^{(i)L}\|^2.

    Args:
        y: y^i, what the net should give, (N, n).
        a: a^{(i)L}, what it gives, (N, n).

    >>> mean_square_error(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]]))
    1.25
    """
    require_pairs(a, y)
    return total_cost(square_error(y, a)) / len(y)


def mean_square_error_gradient(y: Array, a: Array) -> Array:
    r"""Gradient of (19): \partial C / \partial a = (a - y) / N_p, of a's shape.

    >>> mean_square_error_gradient(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]]))
    array([[-0.5],
           [ 1. ]])
    """
    require_same_shape(y, a, "y and a")
    require_pairs(a, y)
    return (a - y) / len(y)


def total_gradient(gradients: Array) -> Array:
    r"""Equation 20: \nabla_a C = \sum_{i=1}^{N_p} \nabla_a C^{(i)}.

    Args:
        gradients: \nabla_a C^{(i)}, each sample's own, (N, ...).

    >>> total_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    return np.asarray(gradients.sum(axis=0))


def mini_batch_gradient(gradients: Array, batch: Integers) -> Array:
    r"""Equation 21: \nabla_a C \approx \frac{N_p}{M} \sum_{i \in \mathrm{batch}} \nabla_a C^{(i)}.

    With the factor the estimate is right on average: over all batches it equals (20).

    Args:
        gradients: \nabla_a C^{(i)}, each sample's own, (N, ...).
        batch: which M samples, (M,).

    >>> mini_batch_gradient(np.array([[1.0], [3.0], [5.0], [7.0]]), np.array([0, 3]))
    array([16.])
    """
    require(0 < len(batch) <= len(gradients), "a batch has 1 to N samples", len(batch))
    rule = f"a batch holds whole numbers in 0..{len(gradients) - 1}, (M,)"
    require(np.ndim(batch) == 1 and whole_below(batch, len(gradients)), rule, batch)
    return len(gradients) / len(batch) * total_gradient(gradients[batch])
