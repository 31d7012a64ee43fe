r"""Adagrad, RMSprop and Adam: a learning rate of its own for every weight (report section 4.1).

The report names them beside (37). Each divides the gradient by the root of a mean of its squares;
they differ in which mean. epsilon stands outside the root in all three, as in PyTorch.
"""

from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, require, require_same_shape


class Moments(NamedTuple):
    """What Adam remembers: decaying means of gradients and of their squares, and the step count."""

    mean: Array
    square: Array
    steps: int = 0


def adagrad_step(
    w: Array, total: Array, *, gradient: Array, lr: float = 0.01, epsilon: float = 1e-10
) -> tuple[Array, Array]:
    r"""Adagrad: s = s + (\nabla C)^2, \; w = w - \eta \nabla C / (\sqrt{s} + \epsilon).

    The sum only grows, so steps only shrink.

    >>> w, s = adagrad_step(np.array([1.0]), np.array([0.0]), gradient=np.array([-4.0]), lr=0.5)
    >>> w.round(6), s
    (array([1.5]), array([16.]))
    """
    require_same_shape(w, gradient, "w and its gradient")
    require_same_shape(w, total, "w and total")
    total = total + gradient**2
    return w - lr * gradient / (np.sqrt(total) + epsilon), total


def rmsprop_step(
    w: Array, square: Array, *, gradient: Array, lr: float, alpha: float = 0.99
) -> tuple[Array, Array]:
    r"""RMSprop: s = \alpha s + (1 - \alpha)(\nabla C)^2, the step as Adagrad's.

    The mean forgets, so steps can grow again. \epsilon is 1e-8.

    >>> w, s = rmsprop_step(np.array([1.0]), np.array([0.0]), gradient=np.array([-4.0]), lr=0.5)
    >>> w.round(6), s.round(6)
    (array([6.]), array([0.16]))
    """
    require(0 <= alpha < 1, "alpha lies in [0, 1)", alpha)
    require_same_shape(w, gradient, "w and its gradient")
    require_same_shape(w, square, "w and square")
    square = alpha * square + (1 - alpha) * gradient**2
    return w - lr * gradient / (np.sqrt(square) + 1e-8), square


def adam_step(
    w: Array,
    moments: Moments,
    *,
    gradient: Array,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> tuple[Array, Moments]:
    r"""Adam: w = w - \eta \hat{m} / (\sqrt{\hat{s}} + \epsilon), \; \hat{m} = m / (1 - \beta_1^t).

    m and s are decaying means of the gradient and its square; both start at zero, which dividing by
    1 - \beta^t corrects: the first step is \eta long whatever the gradient's size.

    Args:
        w: parameters, of any shape.
        moments: m, s and t so far; zeros at the start.
        gradient: \nabla C at w.
        lr: \eta, the learning rate.
        betas: \beta_1 and \beta_2, how much of m and of s remains, in [0, 1).
        epsilon: keeps the quotient finite.

    >>> start = Moments(np.zeros(1), np.zeros(1))
    >>> w, moments = adam_step(np.array([1.0]), start, gradient=np.array([-4.0]), lr=0.5)
    >>> w.round(6), moments.steps
    (array([1.5]), 1)
    """
    require(all(0 <= beta < 1 for beta in betas), "betas lie in [0, 1)", betas)
    require_same_shape(w, gradient, "w and its gradient")
    require_same_shape(w, moments.mean, "w and the mean")
    require_same_shape(w, moments.square, "w and the square")
    mean = betas[0] * moments.mean + (1 - betas[0]) * gradient
    square = betas[1] * moments.square + (1 - betas[1]) * gradient**2
    steps = moments.steps + 1
    mean_hat, square_hat = mean / (1 - betas[0] ** steps), square / (1 - betas[1] ** steps)
    return w - lr * mean_hat / (np.sqrt(square_hat) + epsilon), Moments(mean, square, steps)
