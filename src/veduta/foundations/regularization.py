r"""L1 and L2 penalties and dropout (report sections 4.2 and 4.3, equations 38-39).

With small weights a network stays in the nearly linear range of its activation functions and
represents a smoother function. L2 shrinks each weight in proportion to its size. L1 shrinks all
weights by the same amount, so that many become zero. Both penalties are scaled by lambda / 2n here,
with n the number of training samples, so that their values of lambda can be compared.

Dropout keeps each node with probability p during training, drawn anew for every batch. Kept values
are divided by p, so that the next layer receives the same mean as in evaluation, where all nodes
are present.
"""

from collections.abc import Sequence

import numpy as np

from veduta.foundations.arrays import Array, require, require_same_shape


def l2_cost(cost: float, weights: Sequence[Array], *, lam: float, n: int) -> float:
    r"""Equation 38a: C = C_0 + \frac{\lambda}{2n} \sum_w \|w\|_2^2.

    Args:
        cost: C_0, the cost without the penalty.
        weights: all weight arrays; biases are not penalized.
        lam: \lambda, the strength of the penalty, 0 or more.
        n: number of training samples.

    >>> l2_cost(1.0, [np.array([3.0, -4.0])], lam=0.2, n=10)
    1.25
    """
    return cost + penalty_strength(lam, n) / 2 * float(sum((w**2).sum() for w in weights))


def l2_gradient(w: Array, *, lam: float, n: int) -> Array:
    r"""Gradient of the penalty in (38a): \frac{\lambda}{n} w.

    >>> l2_gradient(np.array([3.0, -4.0]), lam=0.5, n=10)
    array([ 0.15, -0.2 ])
    """
    return penalty_strength(lam, n) * w


def l1_cost(cost: float, weights: Sequence[Array], *, lam: float, n: int) -> float:
    r"""Equation 38b: C = C_0 + \frac{\lambda}{2n} \sum_w \|w\|_1.

    Args:
        cost: C_0, the cost without the penalty.
        weights: all weight arrays; biases are not penalized.
        lam: \lambda, the strength of the penalty, 0 or more.
        n: number of training samples.

    >>> round(l1_cost(1.0, [np.array([3.0, -4.0])], lam=0.2, n=10), 6)
    1.07
    """
    return cost + penalty_strength(lam, n) / 2 * float(sum(np.abs(w).sum() for w in weights))


def l1_gradient(w: Array, *, lam: float, n: int) -> Array:
    r"""Gradient of the penalty in (38b): \frac{\lambda}{2n} \mathrm{sign}(w), 0 where w = 0.

    >>> l1_gradient(np.array([3.0, 0.0, -4.0]), lam=0.5, n=10)
    array([ 0.025,  0.   , -0.025])
    """
    return penalty_strength(lam, n) / 2 * np.sign(w)


def weight_decay_step(w: Array, gradient: Array, *, lr: float, lam: float, n: int) -> Array:
    r"""Equation 39: w^{(k+1)} = (1 - \eta \lambda / n) w^{(k)} - \eta \, \partial C_0 / \partial w.

    In PyTorch's SGD, `weight_decay` is \lambda / n; it is added to the gradient, which without
    momentum gives this step. For Adam the two differ: AdamW decays the weights as here.

    Args:
        w: a weight array, of any shape.
        gradient: \partial C_0 / \partial w, the gradient of the cost without the penalty.
        lr: \eta, the learning rate.
        lam: \lambda, the strength of the penalty, 0 or more.
        n: number of training samples.

    >>> weight_decay_step(np.array([1.0]), np.array([2.0]), lr=0.5, lam=0.2, n=10)
    array([-0.01])
    """
    require_same_shape(w, gradient, "w and its gradient")
    return (1 - lr * penalty_strength(lam, n)) * w - lr * gradient


def penalty_strength(lam: float, n: int) -> float:
    r"""Section 4.2: \lambda / n, the strength of the penalty per training sample.

    >>> penalty_strength(0.5, 10)
    0.05
    """
    require(lam >= 0 and n >= 1, "lam must be 0 or more and n 1 or more", f"{lam} and {n}")
    return lam / n


def dropout(a: Array, keep: float, *, rng: np.random.Generator) -> tuple[Array, Array]:
    r"""Section 4.3, training mode: \tilde{a} = m \odot a / p, \; m_j \sim \mathrm{Bernoulli}(p).

    PyTorch's `Dropout(q)` takes the probability of dropping a node, q = 1 - p.

    Args:
        a: activations, of any shape.
        keep: p, the probability of keeping a node, in (0, 1].
        rng: random generator.

    Returns:
        The activations after dropout, and the scale m / p, which `dropout_backward` needs.

    >>> dropped, scale = dropout(np.ones(6), 0.5, rng=np.random.default_rng(0))
    >>> dropped
    array([0., 2., 2., 2., 0., 0.])
    """
    require_keep(keep)
    scale = (rng.random(a.shape) < keep) / keep
    return a * scale, scale


def dropout_backward(delta: Array, scale: Array) -> Array:
    r"""Derivative of `dropout`: the error is multiplied by the same scale, 0 for dropped nodes.

    >>> dropout_backward(np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    array([0., 2.])
    """
    require_same_shape(delta, scale, "delta and scale")
    return delta * scale


def dropout_in_evaluation(a: Array) -> Array:
    r"""Section 4.3, evaluation mode: \tilde{a} = a; all nodes are present and nothing is rescaled.

    >>> dropout_in_evaluation(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    return a


def require_keep(keep: float) -> None:
    """Raise ValueError unless `keep` is a probability above 0."""
    require(0 < keep <= 1, "keep must lie in (0, 1]", keep)
