r"""Forward pass of a dense feed-forward network (report section 1.2.2, equations 6-9).

Shapes: N samples; layer l has n neurons and m inputs. a^{l-1} is (N, m), W^l is (n, m), b^l is
(n,), the pre-activations z^l and the activations a^l are (N, n). The layer classes are in `layers`,
the training loop is in `training`.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from veduta.foundations.activations import SIGMOID
from veduta.foundations.arrays import Activation, Array, Function, require


def neuron_output(w_j: Array, a_before: Array, *, b_j: float) -> Array:
    r"""Equation 6a: z_j^l = \sum_k w_{jk}^l a_k^{l-1} + b_j^l.

    Args:
        w_j: w_{jk}^l, for all k, the weights of neuron j, (m,).
        a_before: a^{l-1}, (N, m).
        b_j: b_j^l, the bias of neuron j.

    Returns:
        The pre-activation of neuron j, (N,).

    >>> neuron_output(np.array([2.0, 7.0]), np.array([[1.0, 1.0]]), b_j=2.0)
    array([11.])
    """
    valid = a_before.ndim == 2 and w_j.shape == a_before.shape[1:]
    require(valid, "w_j must be (m,) and a_before (N, m)", f"{w_j.shape} and {a_before.shape}")
    return np.asarray(sum(w_jk * a_before[:, k] for k, w_jk in enumerate(w_j))) + b_j


def neuron_activation(psi: Function, z_j: Array) -> Array:
    r"""Equation 6b: a_j^l = \psi(z_j^l).

    Args:
        psi: \psi, the activation function.
        z_j: z_j^l, the pre-activation of neuron j, (N,).

    >>> neuron_activation(np.tanh, np.array([0.0]))
    array([0.])
    """
    return psi(z_j)


def stacked_outputs(w: Array, a_before: Array, *, b: Array) -> Array:
    r"""Equation 7a: [z_1^l, z_2^l, \dots]^T = [w_{jk}^l] [a_1^{l-1}, a_2^{l-1}, \dots]^T + [b_j^l].

    Computed neuron by neuron with (6a); `layer_output` computes the same as one matrix product.

    Args:
        w: [w_{jk}^l], one row per neuron, (n, m).
        a_before: a^{l-1}, (N, m).
        b: [b_j^l], (n,).

    Returns:
        The pre-activations of the layer, (N, n).

    >>> stacked_outputs(np.array([[2.0, 7.0]]), np.array([[1.0, 1.0]]), b=np.array([2.0]))
    array([[11.]])
    """
    require(len(w) == len(b), "b must have one bias per row of w", f"{b.shape} for {w.shape}")
    neurons = zip(w, b, strict=True)
    return np.stack([neuron_output(w_j, a_before, b_j=b_j) for w_j, b_j in neurons], axis=-1)


def stacked_activations(psi: Function, z: Array) -> Array:
    r"""Equation 7b: [a_1^l, a_2^l, \dots]^T = \psi([z_1^l, z_2^l, \dots]^T).

    Args:
        psi: \psi, the activation function.
        z: z^l, (N, n).

    >>> stacked_activations(np.abs, np.array([[-1.0, 2.0]]))
    array([[1., 2.]])
    """
    return np.stack([neuron_activation(psi, z_j) for z_j in z.T], axis=-1)


def layer_output(w: Array, a_before: Array, *, b: Array) -> Array:
    r"""Equation 8: \boldsymbol{z}^l = \boldsymbol{W}^l \boldsymbol{a}^{l-1} + \boldsymbol{b}^l.

    Args:
        w: W^l, (n, m).
        a_before: a^{l-1}, (N, m).
        b: b^l, (n,).

    Returns:
        The pre-activations of the layer, (N, n).

    >>> layer_output(np.array([[2.0, 7.0]]), np.array([[1.0, 1.0]]), b=np.array([2.0]))
    array([[11.]])
    """
    valid = w.ndim == a_before.ndim == 2 and a_before.shape[1:] == w.shape[1:]
    valid = valid and b.shape == w.shape[:1]
    received = f"{w.shape}, {a_before.shape} and {b.shape}"
    require(valid, "w must be (n, m), a_before (N, m) and b (n,)", received)
    return a_before @ w.T + b  # samples are rows, so the product is a W^T instead of W a


def cost(
    parameters: Sequence[tuple[Array, Array]],
    x: Array,
    *,
    y: Array,
    measure: Callable[[Array, Array], float],
    activation: Activation = SIGMOID,
) -> float:
    r"""Equation 9: C = C(a^L; y).

    Through the forward pass, the cost is a function of all weights and biases.

    Args:
        parameters: (W^l, b^l), for each layer, first to last.
        x: inputs, (N, m).
        y: target outputs, (N, n).
        measure: C, the cost as a function of the targets and the network's outputs.
        activation: \psi, with its derivative, the same in all layers.

    >>> from veduta.foundations.losses import mean_squared_error
    >>> net = [(np.array([[1.0]]), np.array([0.0]))]
    >>> cost(net, np.array([[0.0]]), y=np.array([[1.0]]), measure=mean_squared_error)
    0.125
    """
    a = x
    for w, b in parameters:
        a = activation.function(layer_output(w, a, b=b))
    return measure(y, a)


def depth(widths: Sequence[int]) -> int:
    r"""Section 1.1: the number of layers without the input layer.

    Args:
        widths: number of neurons per layer, including the input layer.

    >>> depth([3, 2, 3, 2, 1])
    4
    """
    return len(widths) - 1


def width(widths: Sequence[int]) -> int:
    r"""Section 1.1: the largest number of neurons in a layer.

    Args:
        widths: number of neurons per layer, including the input layer.

    >>> width([3, 2, 3, 2, 1])
    3
    """
    return max(widths)


def parameter_count(widths: Sequence[int], *, bias: bool = True) -> int:
    r"""Section 1.2.2: \sum_l n_l (n_{l-1} + 1), or without biases \sum_l n_l n_{l-1}.

    Args:
        widths: n_l, the number of neurons per layer, including the input layer.
        bias: whether the biases are counted.

    >>> parameter_count([3, 2, 3, 2, 1])
    28
    """
    valid = len(widths) > 1 and min(widths) > 0
    require(valid, "a network must have two or more layers, none of them empty", list(widths))
    return sum(n * (m + bias) for m, n in itertools.pairwise(widths))
