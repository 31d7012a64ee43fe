r"""Dropout (report section 4.3): each node is kept with probability p, in training only.

Kept values are divided by p, so that what the next layer receives has the mean it will have in
evaluation, where all nodes are present. The nodes are drawn anew for every batch.
"""

import numpy as np

from veduta.foundations.arrays import Array, require, require_same_shape


def dropout(a: Array, keep: float, *, rng: np.random.Generator) -> tuple[Array, Array]:
    r"""Section 4.3, training mode: \tilde{a} = m \odot a / p, \; m_j \sim \mathrm{Bernoulli}(p).

    PyTorch's `Dropout(q)` takes the probability of dropping, q = 1 - p.

    Args:
        a: activations, of any shape.
        keep: p, the probability of keeping a node, in (0, 1].
        rng: where the nodes to keep are drawn from.

    Returns:
        What remains, and the scale m / p, which `dropout_backward` needs.

    >>> dropped, scale = dropout(np.ones(6), 0.5, rng=np.random.default_rng(0))
    >>> dropped
    array([0., 2., 2., 2., 0., 0.])
    """
    require_keep(keep)
    scale = (rng.random(a.shape) < keep) / keep
    return a * scale, scale


def require_keep(keep: float) -> None:
    """Raise ValueError unless it is a probability of keeping a node."""
    require(0 < keep <= 1, "a keep probability lies in (0, 1]", keep)


def dropout_backward(delta: Array, scale: Array) -> Array:
    r"""Derivative of dropout: what was kept passes the error on, by the same factor.

    >>> dropout_backward(np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    array([0., 2.])
    """
    require_same_shape(delta, scale, "delta and scale")
    return delta * scale


def evaluate(a: Array) -> Array:
    r"""Section 4.3, evaluation mode: \tilde{a} = a, every node present, nothing left to rescale.

    >>> evaluate(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    return a
