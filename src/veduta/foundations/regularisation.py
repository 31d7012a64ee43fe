r"""Penalties on large weights (report section 4.2, equations 38-39).

A net of small weights uses the bend of its activations less, and draws a simpler curve. L2 shrinks
weights in proportion, L1 by a constant, so that L1 leaves many of them at zero. Both penalties are
scaled by lambda / 2n here, n the number of training samples, so that one lambda compares them.
"""

from collections.abc import Sequence

import numpy as np

from veduta.foundations.arrays import Array, require, require_same_shape


def l2_cost(cost: float, weights: Sequence[Array], *, lam: float, n: int) -> float:
    r"""Equation 38a: C = C_0 + \frac{\lambda}{2n} \sum_w \|w\|_2^2.

    Args:
        cost: C_0, without the penalty.
        weights: every weight array; biases are left free.
        lam: \lambda, how much the penalty counts, 0 or more.
        n: the number of training samples.

    >>> l2_cost(1.0, [np.array([3.0, -4.0])], lam=0.2, n=10)
    1.25
    """
    return cost + strength(lam, n) / 2 * float(sum((w**2).sum() for w in weights))


def l2_gradient(w: Array, *, lam: float, n: int) -> Array:
    r"""Derivative of (38a)'s penalty: \frac{\lambda}{n} w.

    >>> l2_gradient(np.array([3.0, -4.0]), lam=0.5, n=10)
    array([ 0.15, -0.2 ])
    """
    return strength(lam, n) * w


def l1_cost(cost: float, weights: Sequence[Array], *, lam: float, n: int) -> float:
    r"""Equation 38b: C = C_0 + \frac{\lambda}{2n} \sum_w \|w\|_1.

    Args:
        cost: C_0, without the penalty.
        weights: every weight array; biases are left free.
        lam: \lambda, how much the penalty counts, 0 or more.
        n: the number of training samples.

    >>> round(l1_cost(1.0, [np.array([3.0, -4.0])], lam=0.2, n=10), 6)
    1.07
    """
    return cost + strength(lam, n) / 2 * float(sum(np.abs(w).sum() for w in weights))


def l1_gradient(w: Array, *, lam: float, n: int) -> Array:
    r"""Derivative of (38b)'s penalty: \frac{\lambda}{2n} \mathrm{sign}(w), 0 at the kink.

    >>> l1_gradient(np.array([3.0, 0.0, -4.0]), lam=0.5, n=10)
    array([ 0.025,  0.   , -0.025])
    """
    return strength(lam, n) / 2 * np.sign(w)


def weight_decay_step(w: Array, gradient: Array, *, lr: float, lam: float, n: int) -> Array:
    r"""Equation 39: w^{(k+1)} = (1 - \eta \lambda / n) w^{(k)} - \eta \, \partial C_0 / \partial w.

    PyTorch's SGD couples the decay: its `weight_decay` is \lambda / n, added to the gradient, which
    without momentum is this step. In Adam the two differ, AdamW decays as here.

    Args:
        w: a weight array.
        gradient: \partial C_0 / \partial w, of the cost without the penalty.
        lr: \eta, the learning rate.
        lam: \lambda, 0 or more.
        n: the number of training samples.

    >>> weight_decay_step(np.array([1.0]), np.array([2.0]), lr=0.5, lam=0.2, n=10)
    array([-0.01])
    """
    require_same_shape(w, gradient, "w and its gradient")
    return (1 - lr * strength(lam, n)) * w - lr * gradient


def strength(lam: float, n: int) -> float:
    r"""Section 4.2: \lambda / n, what one weight feels.

    >>> strength(0.5, 10)
    0.05
    """
    require(lam >= 0 and n >= 1, "lam is 0 or more and n a number of samples", f"{lam} and {n}")
    return lam / n
