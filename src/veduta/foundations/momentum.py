r"""Gradient descent with momentum (report section 4.1, equation 37).

A velocity remembers past gradients: what they agree on adds up, to 1 / (1 - mu) times a step, what
they disagree on cancels.
"""

from veduta.foundations.arrays import Array, require, require_same_shape


def momentum_step(
    w: Array, v: Array, *, gradient: Array, lr: float, mu: float = 0.9
) -> tuple[Array, Array]:
    r"""Equation 37: v^{(n)} = \mu v^{(n-1)} - \eta \nabla C, \; w^{(n)} = w^{(n-1)} + v^{(n)}.

    PyTorch's SGD keeps u = -v / \eta in place of v: the same path while \eta stays as it is, but
    where a schedule changes \eta, PyTorch rescales all of the past and (37) only the new gradient.

    Args:
        w: parameters, of any shape.
        v: the velocity, of w's shape; zero at the start.
        gradient: \nabla C, at w.
        lr: \eta, the learning rate.
        mu: \mu, how much of the velocity remains, in [0, 1).

    Returns:
        w and v after the step.

    >>> import numpy as np
    >>> w, v = momentum_step(np.array([1.0]), np.array([-0.5]), gradient=np.array([2.0]), lr=0.1)
    >>> w.round(2), v.round(2)
    (array([0.35]), array([-0.65]))
    """
    require(0 <= mu < 1, "mu lies in [0, 1)", mu)
    require_same_shape(w, gradient, "w and its gradient")
    require_same_shape(w, v, "w and v")
    v = mu * v - lr * gradient
    return w + v, v


def nesterov_step(
    w: Array, v: Array, *, gradient: Array, lr: float, mu: float = 0.9
) -> tuple[Array, Array]:
    r"""Nesterov's form of (37): v = \mu v - \eta \nabla C, \; w = w + \mu v - \eta \nabla C.

    The step that (37) would take next is taken in advance, as PyTorch's `nesterov=True` does.

    >>> import numpy as np
    >>> w, v = nesterov_step(np.array([1.0]), np.array([0.0]), gradient=np.array([2.0]), lr=0.1)
    >>> w.round(2), v.round(2)
    (array([0.62]), array([-0.2]))
    """
    _, v = momentum_step(w, v, gradient=gradient, lr=lr, mu=mu)
    return w + mu * v - lr * gradient, v
