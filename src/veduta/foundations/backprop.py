r"""Backpropagation through dense layers (report section 1.2.2, equations 10-16 and Algorithm 2).

Shapes: N samples; layer l has n neurons, the next layer has n_next. z^l, a^l and delta^l are
(N, n), W^{l+1} is (n_next, n). The error delta^l is the derivative of the cost with respect to the
pre-activations z^l. Equations 11 and 13 apply to one neuron, 12 and 14 to a whole layer.
"""

from collections.abc import Callable, Sequence

import numpy as np

from veduta.foundations.activations import SIGMOID
from veduta.foundations.arrays import (
    Activation,
    Array,
    require,
    require_layers,
    require_same_shape,
)
from veduta.foundations.checks import numerical_gradient
from veduta.foundations.losses import mean_squared_error_gradient
from veduta.foundations.network import layer_output

Parameters = Sequence[tuple[Array, Array]]


def error_by_definition(cost: Callable[[Array], float], z: Array) -> Array:
    r"""Equation 10: \delta_j^L = \frac{\partial C}{\partial z_j^L}.

    Computed by central differences, as a reference for (12) and (14).

    Args:
        cost: C, as a function of z.
        z: z^L, (N, n).

    >>> error_by_definition(lambda z: float((z**2).sum()), np.array([[1.0, -3.0]])).round(6)
    array([[ 2., -6.]])
    """
    return numerical_gradient(cost, z)


def neuron_error(gradient_j: Array, slope_j: Array) -> Array:
    r"""Equation 11: \delta_j^L = \frac{\partial C}{\partial a_j^L} \psi'(z_j^L).

    Args:
        gradient_j: \partial C / \partial a_j^L, for neuron j, (N,).
        slope_j: \psi'(z_j^L), (N,).

    >>> neuron_error(np.array([2.0]), np.array([0.25]))
    array([0.5])
    """
    require_same_shape(gradient_j, slope_j, "gradient_j and slope_j")
    return gradient_j * slope_j


def output_error(gradient: Array, slope: Array) -> Array:
    r"""Equation 12: \delta^L = \nabla_a C \odot \psi'(z^L).

    Args:
        gradient: \nabla_a C, (N, n).
        slope: \psi'(z^L), (N, n).

    >>> output_error(np.array([[2.0, -1.0]]), np.array([[0.25, 1.0]]))
    array([[ 0.5, -1. ]])
    """
    require_same_shape(gradient, slope, "gradient and slope")
    return gradient * slope


def neuron_hidden_error(delta_next: Array, w_next_j: Array, *, slope_j: Array) -> Array:
    r"""Equation 13: \delta_j^l = \sum_k w_{kj}^{l+1} \delta_k^{l+1} \psi'(z_j^l).

    Args:
        delta_next: \delta^{l+1}, (N, n_next).
        w_next_j: w_{kj}^{l+1}, for all k, the outgoing weights of neuron j, (n_next,).
        slope_j: \psi'(z_j^l), (N,).

    >>> neuron_hidden_error(np.array([[1.0, 2.0]]), np.array([3.0, 4.0]), slope_j=np.array([0.5]))
    array([5.5])
    """
    valid = delta_next.shape == (*slope_j.shape, *w_next_j.shape)
    received = f"{delta_next.shape}, {w_next_j.shape} and {slope_j.shape}"
    rule = "delta_next must be (N, n_next), w_next_j (n_next,) and slope_j (N,)"
    require(valid, rule, received)
    terms = [w_kj * delta_next[:, k] * slope_j for k, w_kj in enumerate(w_next_j)]
    return np.asarray(sum(terms))


def hidden_error(delta_next: Array, w_next: Array, *, slope: Array) -> Array:
    r"""Equation 14: \delta^l = (W^{l+1})^T \delta^{l+1} \odot \psi'(z^l).

    Args:
        delta_next: \delta^{l+1}, the error of the next layer, (N, n_next).
        w_next: W^{l+1}, the weights used in the forward pass, (n_next, n).
        slope: \psi'(z^l), (N, n).

    >>> hidden_error(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), slope=np.array([[0.5]]))
    array([[5.5]])
    """
    valid = slope.ndim == w_next.ndim == 2 and slope.shape[1] == w_next.shape[1]
    valid = valid and delta_next.shape == (len(slope), len(w_next))
    received = f"{delta_next.shape}, {w_next.shape} and {slope.shape}"
    rule = "delta_next must be (N, n_next), w_next (n_next, n) and slope (N, n)"
    require(valid, rule, received)
    return delta_next @ w_next * slope  # samples are rows: delta W instead of W^T delta


def bias_gradient(delta: Array) -> Array:
    r"""Equation 15: \frac{\partial C}{\partial b_j^l} = \delta_j^l.

    Summed over the batch, because by (18) the cost is a sum over samples.

    Args:
        delta: \delta^l, (N, n).

    Returns:
        The gradient with respect to b^l, (n,).

    >>> bias_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    return np.asarray(delta.sum(axis=0))


def weight_gradient(delta: Array, a_before: Array) -> Array:
    r"""Equation 16: \frac{\partial C}{\partial w_{jk}^l} = a_k^{l-1} \delta_j^l.

    Summed over the batch, because by (18) the cost is a sum over samples.

    Args:
        delta: \delta^l, (N, n).
        a_before: a^{l-1}, (N, m).

    Returns:
        The gradient with respect to W^l, (n, m).

    >>> weight_gradient(np.array([[1.0], [2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([[13., 16.]])
    """
    require_layers(delta, a_before)
    return delta.T @ a_before


def gradients(
    parameters: Parameters, x: Array, *, y: Array, activation: Activation = SIGMOID
) -> list[tuple[Array, Array]]:
    r"""Forward and backward pass of Algorithm 2 for the mean squared error (19).

    Returns:
        \partial C/\partial W^l and \partial C/\partial b^l for each layer, first to last.

    >>> w, b = np.array([[1.0]]), np.array([0.0])
    >>> gradients([(w, b)], np.array([[0.0]]), y=np.array([[0.0]]))
    [(array([[0.]]), array([0.125]))]
    """
    require(len(parameters) > 0, "a network must have at least one layer", len(parameters))
    a, z = [x], []
    for w, b in parameters:
        z.append(layer_output(w, a[-1], b=b))
        a.append(activation.function(z[-1]))
    slopes = [activation.derivative(z_l) for z_l in z]
    delta = output_error(mean_squared_error_gradient(y, a[-1]), slopes[-1])
    layer_gradients = [(weight_gradient(delta, a[-2]), bias_gradient(delta))]
    for layer in range(len(parameters) - 2, -1, -1):
        delta = hidden_error(delta, parameters[layer + 1][0], slope=slopes[layer])
        layer_gradients.insert(0, (weight_gradient(delta, a[layer]), bias_gradient(delta)))
    return layer_gradients


def gradient_descent_step(
    parameters: Parameters, x: Array, *, y: Array, lr: float, activation: Activation = SIGMOID
) -> list[tuple[Array, Array]]:
    r"""Algorithm 2: \begin{split} \delta^L &= \nabla_a C \odot \psi'(z^L) \\
    \delta^l &= (W^{l+1})^T \delta^{l+1} \odot \psi'(z^l), \; l < L \\
    W^l &\leftarrow W^l - \eta \delta^l (a^{l-1})^T \\
    b^l &\leftarrow b^l - \eta \delta^l \end{split}.

    The updates are summed over the batch. All errors are computed with the weights of the forward
    pass, before any weight is updated.

    Args:
        parameters: (W^l, b^l), for each layer, first to last.
        x: inputs, (N, m).
        y: target outputs, (N, n).
        lr: \eta, the learning rate.
        activation: \psi, with its derivative, the same in all layers.

    Returns:
        The parameters after one gradient descent step on the mean squared error (19).

    >>> w, b = np.array([[1.0]]), np.array([0.0])
    >>> gradient_descent_step([(w, b)], np.array([[0.0]]), y=np.array([[0.0]]), lr=8.0)
    [(array([[1.]]), array([-1.]))]
    """  # noqa: D205 - the summary holds four formulas
    layer_gradients = gradients(parameters, x, y=y, activation=activation)
    pairs = zip(parameters, layer_gradients, strict=True)
    return [(w - lr * dw, b - lr * db) for (w, b), (dw, db) in pairs]
