r"""Activation functions and their derivatives (report section 1.2.2, equations 1-5).

All functions work elementwise on arrays of any shape. A neuron is saturated where its
derivative psi' is close to 0: by (12) and (16) its weights then hardly change. ReLU and the binary
step have derivative 0 for all x <= 0 (the step for all x); the others saturate for large |x|.
"""

import numpy as np

from veduta.foundations.arrays import Activation, Array, Mask, require


def relu(x: Array) -> Array:
    r"""Equation 1: \psi(x) = \begin{cases} 0 & x \le 0 \\ x & x > 0 \end{cases}.

    Args:
        x: pre-activations, of any shape.

    >>> relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """
    return np.maximum(x, 0.0)


def relu_derivative(x: Array) -> Array:
    r"""Derivative of (1): 0 for x < 0, 1 for x > 0; the subgradient 0 is used at x = 0.

    >>> relu_derivative(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 1.])
    """
    return (x > 0).astype(np.float64)


def binary_step(x: Array) -> Array:
    r"""Equation 2: \psi(x) = \begin{cases} 0 & x \le 0 \\ 1 & x > 0 \end{cases}.

    Args:
        x: pre-activations, of any shape.

    >>> binary_step(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 1.])
    """
    return (x > 0).astype(np.float64)


def binary_step_derivative(x: Array) -> Array:
    r"""Derivative of (2): 0 for all x, also for x = 0, where it is undefined.

    >>> binary_step_derivative(np.array([-2.0, 3.0]))
    array([0., 0.])
    """
    return np.zeros_like(x)


def sigmoid(x: Array) -> Array:
    r"""Equation 3: \sigma(x) = \frac{1}{1 + e^{-x}}.

    The implementation only evaluates exp(-|x|), so that it does not overflow for any x.

    Args:
        x: pre-activations, of any shape.

    >>> sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    exponential = np.exp(-np.abs(x))  # at most 1
    return np.where(x >= 0, 1.0, exponential) / (1.0 + exponential)


def sigmoid_derivative(x: Array) -> Array:
    r"""Derivative of (3): \sigma(x)(1 - \sigma(x)), below 0.01 for |x| > 4.6.

    >>> sigmoid_derivative(np.array([0.0]))
    array([0.25])
    """
    return sigmoid(x) * sigmoid(-x)  # sigmoid(-x) is 1 - sigmoid(x) without cancellation


def tanh(x: Array) -> Array:
    r"""Equation 4: \tanh x = \frac{2}{1 + e^{-2x}} - 1.

    Args:
        x: pre-activations, of any shape.

    >>> tanh(np.array([-1e4, 0.0, 1e4]))
    array([-1.,  0.,  1.])
    """
    return np.tanh(x)


def tanh_derivative(x: Array) -> Array:
    r"""Derivative of (4): 1 - \tanh^2 x, below 0.01 for |x| > 3.0.

    >>> tanh_derivative(np.array([0.0, 1e4]))
    array([1., 0.])
    """
    return 4.0 * sigmoid_derivative(2.0 * x)  # 1 - tanh(x)^2 without cancellation for large |x|


def arctan(x: Array) -> Array:
    r"""Equation 5: \psi(x) = \arctan x.

    Args:
        x: pre-activations, of any shape.

    >>> arctan(np.array([0.0, 1.0])) * 4 / np.pi
    array([0., 1.])
    """
    return np.arctan(x)


def arctan_derivative(x: Array) -> Array:
    r"""Derivative of (5): \frac{1}{1 + x^2}, below 0.01 only for |x| > 9.9.

    >>> arctan_derivative(np.array([0.0, 1.0]))
    array([1. , 0.5])
    """
    return 1.0 / (1.0 + x**2)


def is_saturated(slope: Array, *, limit: float = 0.01) -> Mask:
    r"""Section 1.2.2: a neuron counts as saturated where |\psi'(z)| < \mathrm{limit}.

    Args:
        slope: \psi'(z), of any shape.
        limit: threshold for the magnitude of the derivative.

    >>> is_saturated(sigmoid_derivative(np.array([-5.0, 0.0, 4.0, 5.0])))
    array([ True, False, False,  True])
    """
    require(limit > 0, "limit must be above 0", limit)
    return np.abs(slope) < limit


RELU = Activation(relu, relu_derivative)
BINARY_STEP = Activation(binary_step, binary_step_derivative)
SIGMOID = Activation(sigmoid, sigmoid_derivative)
TANH = Activation(tanh, tanh_derivative)
ARCTAN = Activation(arctan, arctan_derivative)
