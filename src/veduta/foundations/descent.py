r"""Gradient descent for one neuron with inputs x_1, x_2 (report section 1.2.1, Algorithm 1).

This is the smallest trainable network: two weights, one bias, no activation function and one data
point. Deeper networks need a longer chain rule; the update step stays the same.
"""

from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, require


class Path(NamedTuple):
    """The states of gradient descent; row n is the state after n epochs."""

    parameters: Array  # (epochs + 1, 3): w_1, w_2, b
    outputs: Array  # (epochs + 1,): z
    costs: Array  # (epochs + 1,): C(z)


def output(parameters: Array, x: Array) -> float:
    r"""Section 1.2.1: z = x_1 w_1 + x_2 w_2 + b.

    Args:
        parameters: w_1, w_2, b, as an array of shape (3,).
        x: x_1, x_2, as an array of shape (2,).

    >>> output(np.array([0.0, 0.0, 1.0]), np.array([2.0, 7.0]))
    1.0
    """
    require(x.shape == (2,) and parameters.shape == (3,), "x must be (2,) and parameters (3,)",
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

    Each epoch multiplies the difference between output and target by
    1 - \eta (x_1^2 + x_2^2 + 1). Gradient descent converges if this factor lies in (-1, 1).

    Args:
        parameters: \theta^{(0)}, the initial weights and bias, (3,).
        x: the two inputs, (2,).
        y: the target output.
        lr: \eta, the learning rate.
        epochs: number of update steps.

    Returns:
        All states, including the initial one.

    >>> path = gradient_descent(np.array([0.0, 0.0, 1.0]), np.array([2.0, 7.0]), y=11.0)
    >>> path.parameters[-1].round(6), round(float(path.outputs[-1]), 6)
    (array([0.370367, 1.296285, 1.185184]), 10.999913)
    """
    require(epochs >= 0, "epochs must be 0 or more", epochs)
    states = [np.array(parameters, dtype=np.float64)]
    for _ in range(epochs):
        z = output(states[-1], x)
        states.append(states[-1] - lr * gradient(z, x, y=y))
    outputs = [output(state, x) for state in states]
    return Path(np.array(states), np.array(outputs), np.array([cost(z, y) for z in outputs]))


def largest_learning_rate(x: Array) -> float:
    r"""Section 1.2.1: Algorithm 1 converges for \eta < 2 / (x_1^2 + x_2^2 + 1).

    Returns:
        This upper bound of the learning rate.

    >>> round(largest_learning_rate(np.array([2.0, 7.0])), 4)
    0.037
    """
    return float(2 / (x @ x + 1))
