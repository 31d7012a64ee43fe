r"""The forward pass of a feed-forward network (report section 1.2.2, equations 6-9).

Shapes: N samples; layer l has n neurons and receives m numbers. a^{l-1} is (N, m), W^l is (n, m),
b^l is (n,), z^l and a^l are (N, n). `layers` has layers of every kind the report names, `train`
makes a network of them learn.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from veduta.foundations.activations import SIGMOID
from veduta.foundations.arrays import Activation, Array, Function, require
from veduta.foundations.training import train

__all__ = [
    "cost",
    "depth",
    "layer_output",
    "neuron_activation",
    "neuron_output",
    "parameter_count",
    "stacked_activations",
    "stacked_outputs",
    "train",
    "width",
]


def neuron_output(w_j: Array, a_before: Array, *, b_j: float) -> Array:
    r"""Equation 6a: z_j^l = \sum_k w_{jk}^l a_k^{l-1} + b_j^l.

    Args:
        w_j: w_{jk}^l, for all k: what enters neuron j, (m,).
        a_before: a^{l-1}, (N, m).
        b_j: the neuron's bias.

    >>> neuron_output(np.array([2.0, 7.0]), np.array([[1.0, 1.0]]), b_j=2.0)
    array([11.])
    """
    fits = a_before.ndim == 2 and w_j.shape == a_before.shape[1:]
    require(fits, "w_j is (m,), a_before (N, m)", f"{w_j.shape} and {a_before.shape}")
    return np.asarray(sum(w_jk * a_before[:, k] for k, w_jk in enumerate(w_j))) + b_j


def neuron_activation(psi: Function, z_j: Array) -> Array:
    r"""Equation 6b: a_j^l = \psi(z_j^l).

    Args:
        psi: \psi, an activation function.
        z_j: the neuron's output, (N,).

    >>> neuron_activation(np.tanh, np.array([0.0]))
    array([0.])
    """
    return psi(z_j)


def stacked_outputs(w: Array, a_before: Array, *, b: Array) -> Array:
    r"""Equation 7a: [z_1^l, z_2^l, \dots]^T = [w_{jk}^l] [a_1^{l-1}, a_2^{l-1}, \dots]^T + [b_j^l].

    Args:
        w: [w_{jk}^l], a row a neuron, (n, m).
        a_before: a^{l-1}, (N, m).
        b: [b_j^l], (n,).

    >>> stacked_outputs(np.array([[2.0, 7.0]]), np.array([[1.0, 1.0]]), b=np.array([2.0]))
    array([[11.]])
    """
    require(len(w) == len(b), "there is one bias a row of w", f"{b.shape} for {w.shape}")
    neurons = zip(w, b, strict=True)
    return np.stack([neuron_output(w_j, a_before, b_j=b_j) for w_j, b_j in neurons], axis=-1)


def stacked_activations(psi: Function, z: Array) -> Array:
    r"""Equation 7b: [a_1^l, a_2^l, \dots]^T = \psi([z_1^l, z_2^l, \dots]^T).

    Args:
        psi: \psi, an activation function.
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

    >>> layer_output(np.array([[2.0, 7.0]]), np.array([[1.0, 1.0]]), b=np.array([2.0]))
    array([[11.]])
    """
    fits = w.ndim == a_before.ndim == 2 and a_before.shape[1:] == w.shape[1:]
    received = f"{w.shape}, {a_before.shape} and {b.shape}"
    require(fits and b.shape == w.shape[:1], "w is (n, m), a_before (N, m), b (n,)", received)
    return a_before @ w.T + b  # samples are rows, so W stands on the right


def cost(
    parameters: Sequence[tuple[Array, Array]],
    x: Array,
    *,
    y: Array,
    measure: Callable[[Array, Array], float],
    activation: Activation = SIGMOID,
) -> float:
    r"""Equation 9: C = C(a^L; y).

    It looks like a function of the output alone; through the forward pass it is one of all weights.

    Args:
        parameters: (W^l, b^l), of each layer, first to last.
        x: inputs, (N, m).
        y: what the net should give, (N, n).
        measure: C, as a function of what should come out and what does.
        activation: psi and its derivative, the same in all layers.

    >>> from veduta.foundations.losses import mean_square_error
    >>> net = [(np.array([[1.0]]), np.array([0.0]))]
    >>> cost(net, np.array([[0.0]]), y=np.array([[1.0]]), measure=mean_square_error)
    0.125
    """
    a = x
    for w, b in parameters:
        a = activation.function(layer_output(w, a, b=b))
    return measure(y, a)


def depth(widths: Sequence[int]) -> int:
    r"""Section 1.1: the number of layers except the first, which only holds the input.

    >>> depth([3, 2, 3, 2, 1])
    4
    """
    return len(widths) - 1


def width(widths: Sequence[int]) -> int:
    r"""Section 1.1: the largest number of neurons in a layer.

    >>> width([3, 2, 3, 2, 1])
    3
    """
    return max(widths)


def parameter_count(widths: Sequence[int], *, bias: bool = True) -> int:
    r"""Section 1.2.2: \sum_l n_l (n_{l-1} + 1), or without the biases \sum_l n_l n_{l-1}.

    >>> parameter_count([3, 2, 3, 2, 1])
    28
    """
    require(len(widths) > 1 and min(widths) > 0, "a network has two layers or more, none of them "
            "empty", list(widths))  # fmt: skip
    return sum(n * (m + bias) for m, n in itertools.pairwise(widths))
