r"""Update rules of gradient descent (report section 4.1, equation 37).

Momentum (37) adds a velocity, a decaying sum of past gradients: components that agree add up, to
1 / (1 - mu) times a plain step, and components that alternate cancel.

The report also names Adagrad, RMSprop and Adam. They give each weight its own learning rate by
dividing the gradient by the root of an accumulated squared gradient, and differ in how it is
accumulated. As in PyTorch, epsilon is added outside the root.
"""

from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, require, require_same_shape


class Moments(NamedTuple):
    """State of Adam: running means of the gradient and of its square, and the step count."""

    mean: Array
    square: Array
    steps: int = 0


def momentum_step(
    w: Array, v: Array, *, gradient: Array, lr: float, mu: float = 0.9
) -> tuple[Array, Array]:
    r"""Equation 37: v^{(n)} = \mu v^{(n-1)} - \eta \nabla C, \; w^{(n)} = w^{(n-1)} + v^{(n)}.

    PyTorch's SGD stores u = -v / \eta instead of v. Both give the same weights while \eta is
    constant. When a schedule changes \eta, PyTorch applies the new \eta to all past gradients, and
    (37) only to the current one.

    Args:
        w: parameters, of any shape.
        v: the velocity, same shape as w; initially zero.
        gradient: \nabla C, evaluated at w.
        lr: \eta, the learning rate.
        mu: \mu, the decay factor of the velocity, in [0, 1).

    Returns:
        w and v after the step.

    >>> w, v = momentum_step(np.array([1.0]), np.array([-0.5]), gradient=np.array([2.0]), lr=0.1)
    >>> w.round(2), v.round(2)
    (array([0.35]), array([-0.65]))
    """
    require(0 <= mu < 1, "mu must lie in [0, 1)", mu)
    require_same_shape(w, gradient, "w and its gradient")
    require_same_shape(w, v, "w and v")
    v = mu * v - lr * gradient
    return w + v, v


def nesterov_step(
    w: Array, v: Array, *, gradient: Array, lr: float, mu: float = 0.9
) -> tuple[Array, Array]:
    r"""Nesterov's form of (37): v = \mu v - \eta \nabla C, \; w = w + \mu v - \eta \nabla C.

    The step looks ahead by one more decayed velocity, as in PyTorch with `nesterov=True`.

    >>> w, v = nesterov_step(np.array([1.0]), np.array([0.0]), gradient=np.array([2.0]), lr=0.1)
    >>> w.round(2), v.round(2)
    (array([0.62]), array([-0.2]))
    """
    _, v = momentum_step(w, v, gradient=gradient, lr=lr, mu=mu)
    return w + mu * v - lr * gradient, v


def adagrad_step(
    w: Array, total: Array, *, gradient: Array, lr: float = 0.01, epsilon: float = 1e-10
) -> tuple[Array, Array]:
    r"""Adagrad: s = s + (\nabla C)^2, \; w = w - \eta \nabla C / (\sqrt{s} + \epsilon).

    The sum s never decreases, so the effective learning rate never increases.

    Args:
        w: parameters, of any shape.
        total: s, same shape as w; initially zero.
        gradient: \nabla C, evaluated at w.
        lr: \eta, the learning rate.
        epsilon: \epsilon, avoids division by zero.

    Returns:
        w and s after the step.

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
    r"""RMSprop: s = \alpha s + (1 - \alpha)(\nabla C)^2, with the update of w as in Adagrad.

    s is a running mean, so the effective learning rate can also increase. \epsilon is 1e-8.

    Args:
        w: parameters, of any shape.
        square: s, same shape as w; initially zero.
        gradient: \nabla C, evaluated at w.
        lr: \eta, the learning rate.
        alpha: \alpha, the decay factor of s, in [0, 1).

    Returns:
        w and s after the step.

    >>> w, s = rmsprop_step(np.array([1.0]), np.array([0.0]), gradient=np.array([-4.0]), lr=0.5)
    >>> w.round(6), s.round(6)
    (array([6.]), array([0.16]))
    """
    require(0 <= alpha < 1, "alpha must lie in [0, 1)", alpha)
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

    m and s are running means of the gradient and of its square. Both start at zero; dividing by
    1 - \beta^t corrects the resulting bias. The first step therefore changes each weight by \eta,
    whatever the size of its gradient.

    Args:
        w: parameters, of any shape.
        moments: m, s and t so far; initially zero.
        gradient: \nabla C, evaluated at w.
        lr: \eta, the learning rate.
        betas: \beta_1 and \beta_2, the decay factors of m and s, in [0, 1).
        epsilon: \epsilon, avoids division by zero.

    Returns:
        w and the moments after the step.

    >>> start = Moments(np.zeros(1), np.zeros(1))
    >>> w, moments = adam_step(np.array([1.0]), start, gradient=np.array([-4.0]), lr=0.5)
    >>> w.round(6), moments.steps
    (array([1.5]), 1)
    """
    require(all(0 <= beta < 1 for beta in betas), "betas must lie in [0, 1)", betas)
    require_same_shape(w, gradient, "w and its gradient")
    require_same_shape(w, moments.mean, "w and moments.mean")
    require_same_shape(w, moments.square, "w and moments.square")
    mean = betas[0] * moments.mean + (1 - betas[0]) * gradient
    square = betas[1] * moments.square + (1 - betas[1]) * gradient**2
    steps = moments.steps + 1
    mean_hat, square_hat = mean / (1 - betas[0] ** steps), square / (1 - betas[1] ** steps)
    return w - lr * mean_hat / (np.sqrt(square_hat) + epsilon), Moments(mean, square, steps)
