r"""Gradient descent on one neuron with inputs x_1, x_2 (report section 1.2.1, Algorithm 1).

The smallest network that learns: two weights, one bias, no activation, one data point. What the
report's deeper networks add is a longer chain rule; the step is the same.
"""

from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, require


class Path(NamedTuple):
    """What gradient descent went through; row n belongs to the state after n epochs."""

    parameters: Array  # (epochs + 1, 3): w_1, w_2, b
    outputs: Array  # (epochs + 1,): z
    costs: Array  # (epochs + 1,): C(z)


def output(parameters: Array, x: Array) -> float:
    r"""Section 1.2.1: z = x_1 w_1 + x_2 w_2 + b.

    Args:
        parameters: w_1, w_2, b.
        x: x_1, x_2.

    >>> output(np.array([0.0, 0.0, 1.0]), np.array([2.0, 7.0]))
    1.0
    """
    require(x.shape == (2,) and parameters.shape == (3,), "x is (2,), parameters are (3,)",
            f"{x.shape} and {parameters.shape}")  # fmt: skip
    return float(parameters[:2] @ x + parameters[2])


def cost(z: float, y: float) -> float:
    r"""Section 1.2.1: C(z) = \frac{1}{2} (y - z)^2.

    >>> cost(1.0, 11.0)
    50.0
    """
    return (y - z) ** 2 / 2


def gradient(z: float, x: Array, *, y: float) -> Array:
    r"""Section 1.2.1: (\partial C/\partial w_1, \partial w_2, \partial b) = (z - y)(x_1, x_2, 1).

    >>> gradient(1.0, np.array([2.0, 7.0]), y=11.0)
    array([-20., -70., -10.])
    """
    return (z - y) * np.append(x, 1.0)


def gradient_descent(
    parameters: Array, x: Array, *, y: float, lr: float = 0.01, epochs: int = 15
) -> Path:
    r"""Algorithm 1: \theta^{(n+1)} = \theta^{(n)} - \eta (z^{(n)} - y)(x_1, x_2, 1).

    The distance to the target shrinks by 1 - \eta (x_1^2 + x_2^2 + 1) an epoch: descent converges
    where that factor lies in (-1, 1), and diverges beyond.

    Args:
        parameters: \theta^{(0)}, what to start from: two weights and the bias, (3,).
        x: the two inputs, (2,).
        y: the output to learn.
        lr: \eta, the learning rate.
        epochs: how many steps are taken.

    Returns:
        Every state on the way, the start included.

    >>> path = gradient_descent(np.array([0.0, 0.0, 1.0]), np.array([2.0, 7.0]), y=11.0)
    >>> path.parameters[-1].round(6), round(float(path.outputs[-1]), 6)
    (array([0.370367, 1.296285, 1.185184]), 10.999913)
    """
    require(epochs >= 0, "epochs is a count, 0 or more", epochs)
    states = [np.array(parameters, dtype=np.float64)]
    for _ in range(epochs):
        z = output(states[-1], x)
        states.append(states[-1] - lr * gradient(z, x, y=y))
    outputs = [output(state, x) for state in states]
    return Path(np.array(states), np.array(outputs), np.array([cost(z, y) for z in outputs]))


def largest_learning_rate(x: Array) -> float:
    r"""Algorithm 1 converges for \eta < 2 / (x_1^2 + x_2^2 + 1).

    >>> round(largest_learning_rate(np.array([2.0, 7.0])), 4)
    0.037
    """
    return float(2 / (x @ x + 1))
