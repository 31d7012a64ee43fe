r"""Costs of a training set, softmax and log-likelihood (report section 1.2.2, equations 17-27).

Shapes: N samples with n outputs; y, a and z are (N, n). Functions that return one cost per sample
return (N,). The labels of softmax are (N,) integers; only differences between logits matter, so the
largest entry of each row is subtracted first, which prevents overflow.

Equations 22-25 compare the two costs. A sigmoid neuron with a confident wrong output is saturated:
psi' is close to 0, and with the squared error its weights hardly change (learning slowdown). The
gradient of the cross-entropy does not contain the factor psi'.
"""

import numpy as np

from veduta.foundations.activations import sigmoid
from veduta.foundations.arrays import (
    Array,
    Integers,
    are_indices,
    require,
    require_distributions,
    require_labels,
    require_layers,
    require_pairs,
    require_probabilities,
    require_same_shape,
    require_scores,
)


def softmax(z: Array) -> Array:
    r"""Equation 26: a_j^L = \gamma(z_j^L) = \frac{e^{z_j^L}}{\sum_k e^{z_k^L}}.

    Args:
        z: z^L, the logits, (N, classes).

    Returns:
        Class probabilities, (N, classes); each row sums to 1.

    >>> softmax(np.array([[0.0, np.log(3.0)], [-1e4, 1e4]]))
    array([[0.25, 0.75],
           [0.  , 1.  ]])
    """
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def softmax_backward(gradient: Array, a: Array) -> Array:
    r"""Derivative of (26): \partial a_j / \partial z_k = a_j ([j = k] - a_k).

    Args:
        gradient: \partial C / \partial a, (N, classes).
        a: the output of `softmax`, (N, classes).

    Returns:
        \partial C / \partial z, (N, classes).

    >>> softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.25, 0.75]]))
    array([[ 0.1875, -0.1875]])
    """
    require_same_shape(gradient, a, "gradient and a")
    require_distributions(a, "a")
    return np.asarray(a * (gradient - (gradient * a).sum(axis=-1, keepdims=True)))


def log_softmax(z: Array) -> Array:
    r"""Logarithm of (26): \ln \gamma(z_j) = z_j - \ln \sum_k e^{z_k}.

    >>> log_softmax(np.array([[0.0, 1e4]]))
    array([[-10000.,      0.]])
    """
    shifted = z - z.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def negative_log_likelihood(z: Array, labels: Integers) -> Array:
    r"""Equation 27: C = -\ln \gamma(z_i^L), \; i \text{ the true class}.

    Args:
        z: z^L, the logits, (N, classes).
        labels: i, the true class of each sample, (N,).

    Returns:
        The cost of each sample, (N,).

    >>> negative_log_likelihood(np.array([[0.0, np.log(3.0)]]), np.array([0])).round(4)
    array([1.3863])
    """
    require_scores(z, labels)
    return np.asarray(-log_softmax(z)[np.arange(len(z)), labels])


def negative_log_likelihood_delta(z: Array, labels: Integers) -> Array:
    r"""Derivative of (27): \delta_j^L = \gamma(z_j^L) - [j = i]; as in (25), psi' does not occur.

    >>> negative_log_likelihood_delta(np.array([[0.0, np.log(3.0)]]), np.array([0]))
    array([[-0.75,  0.75]])
    """
    require_scores(z, labels)
    return softmax(z) - one_hot(labels, z.shape[1])


def one_hot(labels: Integers, classes: int) -> Array:
    r"""Section 1.2.2: class i is encoded as a vector with 1 at index i and 0 elsewhere.

    Returns:
        One row per label, (N, classes).

    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    require_labels(labels, len(labels), classes)
    return np.eye(classes)[labels]


def training_set(x: Array, y: Array) -> list[tuple[Array, Array]]:
    r"""Equation 17: \mathcal{D} = \{(x^i, y^i)\}_{i=1}^{N_p}.

    Args:
        x: x^i, the inputs, (N, ...).
        y: y^i, the target outputs, (N, ...).

    Returns:
        One pair (x^i, y^i) per sample.

    >>> training_set(np.array([[2.0, 7.0]]), np.array([[11.0]]))
    [(array([2., 7.]), array([11.]))]
    """
    require_pairs(x, y)
    return list(zip(x, y, strict=True))


def total_cost(costs: Array) -> float:
    r"""Equation 18: C = \sum_{i=1}^{N_p} C^{(i)}(y^i; a^{(i)L}).

    Args:
        costs: C^{(i)}, one number per sample, (N,).

    >>> total_cost(squared_error(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]])))
    2.5
    """
    require(costs.ndim == 1, "costs must be (N,), one number per sample", costs.shape)
    return float(costs.sum())


def squared_error(y: Array, a: Array) -> Array:
    r"""Section 1.2.1, cost per sample: C^{(i)} = \frac{1}{2} \|y^i - a^{(i)L}\|^2.

    >>> squared_error(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]]))
    array([2.])
    """
    require_same_shape(y, a, "y and a")
    return np.asarray(((y - a) ** 2).sum(axis=-1)) / 2


def mean_squared_error(y: Array, a: Array) -> float:
    r"""Equation 19: C = \frac{1}{2 N_p} \sum_{i=1}^{N_p} \|y^i - a^{(i)L}\|^2.

    Args:
        y: y^i, the target outputs, (N, n).
        a: a^{(i)L}, the network's outputs, (N, n).

    >>> mean_squared_error(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]]))
    1.25
    """
    require_pairs(a, y)
    return total_cost(squared_error(y, a)) / len(y)


def mean_squared_error_gradient(y: Array, a: Array) -> Array:
    r"""Gradient of (19): \partial C / \partial a = (a - y) / N_p, in the shape of a.

    >>> mean_squared_error_gradient(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]]))
    array([[-0.5],
           [ 1. ]])
    """
    require_same_shape(y, a, "y and a")
    require_pairs(a, y)
    return (a - y) / len(y)


def total_gradient(gradients: Array) -> Array:
    r"""Equation 20: \nabla_a C = \sum_{i=1}^{N_p} \nabla_a C^{(i)}.

    Args:
        gradients: \nabla_a C^{(i)}, one gradient per sample, (N, ...).

    >>> total_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    return np.asarray(gradients.sum(axis=0))


def mini_batch_gradient(gradients: Array, batch: Integers) -> Array:
    r"""Equation 21: \nabla_a C \approx \frac{N_p}{M} \sum_{i \in \mathrm{batch}} \nabla_a C^{(i)}.

    The factor N_p / M makes the estimate unbiased: its average over all batches equals (20).

    Args:
        gradients: \nabla_a C^{(i)}, one gradient per sample, (N, ...).
        batch: indices of the M samples in the batch, (M,).

    >>> mini_batch_gradient(np.array([[1.0], [3.0], [5.0], [7.0]]), np.array([0, 3]))
    array([16.])
    """
    require(0 < len(batch) <= len(gradients), "a batch must have 1 to N samples", len(batch))
    rule = f"a batch must hold integers in 0..{len(gradients) - 1}, (M,)"
    require(np.ndim(batch) == 1 and are_indices(batch, len(gradients)), rule, batch)
    return len(gradients) / len(batch) * total_gradient(gradients[batch])


def squared_error_delta(y: Array, a: Array, *, slope: Array) -> Array:
    r"""Equation 22: \delta_j^L = (a_j^L - y_j) \psi'(z_j^L).

    Args:
        y: target outputs, (N, n).
        a: a^L, the network's outputs, (N, n).
        slope: \psi'(z^L), (N, n).

    >>> squared_error_delta(np.array([[0.0]]), np.array([[1.0]]), slope=np.array([[0.25]]))
    array([[0.25]])
    """
    require_same_shape(y, a, "y and a")
    require_same_shape(a, slope, "a and slope")
    return (a - y) * slope


def squared_error_weight_gradient(delta: Array, a_before: Array) -> Array:
    r"""Equation 23: \partial C / \partial w_{jk}^L = a_k^{L-1} (a_j^L - y_j) \psi'(z_j^L).

    Args:
        delta: \delta^L, computed by (22), (N, n).
        a_before: a^{L-1}, the input of the last layer, (N, m).

    Returns:
        One gradient per sample, (N, n, m).

    >>> squared_error_weight_gradient(np.array([[0.25]]), np.array([[2.0, 4.0]]))
    array([[[0.5, 1. ]]])
    """
    require_layers(delta, a_before)
    return delta[:, :, None] * a_before[:, None, :]


def cross_entropy(y: Array, a: Array) -> Array:
    r"""Equation 24: C = -\sum_j \left[ y_j \ln a_j^L + (1 - y_j) \ln(1 - a_j^L) \right].

    0 ln 0 is defined as 0. The cost of a wrong output of exactly 0 or 1 is infinite;
    `cross_entropy_of_output` computes the cost from z, where it stays finite.

    Args:
        y: target outputs in [0, 1], (N, n).
        a: a^L, the network's outputs in [0, 1], (N, n).

    >>> cross_entropy(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])).round(4)
    array([1.3863])
    """
    require_targets(y, a, "a")
    require_probabilities(a, "a")
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(y > 0, y * np.log(a), 0) + np.where(y < 1, (1 - y) * np.log1p(-a), 0)
    return -np.asarray(terms.sum(axis=-1))


def cross_entropy_gradient(y: Array, a: Array) -> Array:
    r"""Gradient of (24): \partial C / \partial a_j = (a_j - y_j) / (a_j (1 - a_j)).

    >>> cross_entropy_gradient(np.array([[1.0]]), np.array([[0.5]]))
    array([[-2.]])
    """
    require_targets(y, a, "a")
    require(np.all((a > 0) & (a < 1)), "a must hold probabilities strictly between 0 and 1", a)
    return (a - y) / (a * (1 - a))


def cross_entropy_of_output(y: Array, z: Array) -> Array:
    r"""Equation 24 from z: C = \sum_j \max(z_j, 0) - y_j z_j + \ln(1 + e^{-|z_j|}).

    Equals (24) with a = \sigma(z), but without overflow and without \ln 0.

    >>> cross_entropy_of_output(np.array([[0.0, 1.0]]), np.array([[1e4, 1e4]]))
    array([10000.])
    """
    require_targets(y, z, "z")
    return np.asarray((np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))).sum(axis=-1))


def cross_entropy_delta(y: Array, z: Array) -> Array:
    r"""Derivative of (24) with respect to z: \delta_j^L = \sigma(z_j^L) - y_j; psi' cancels.

    >>> cross_entropy_delta(np.array([[1.0]]), np.array([[0.0]]))
    array([[-0.5]])
    """
    require_targets(y, z, "z")
    return sigmoid(z) - y


def cross_entropy_weight_gradient(y: Array, a: Array, *, a_before: Array) -> Array:
    r"""Equation 25: \partial C / \partial w_{jk}^L = a_k^{L-1} (a_j^L - y_j).

    Args:
        y: target outputs, (N, n).
        a: a^L, the network's outputs, (N, n).
        a_before: a^{L-1}, the input of the last layer, (N, m).

    Returns:
        One gradient per sample, (N, n, m).

    >>> cross_entropy_weight_gradient(
    ...     np.array([[1.0]]), np.array([[0.5]]), a_before=np.array([[2.0, 4.0]])
    ... )
    array([[[-1., -2.]]])
    """
    require_targets(y, a, "a")
    require_probabilities(a, "a")
    require_layers(a, a_before)
    return (a - y)[:, :, None] * a_before[:, None, :]


def require_targets(y: Array, outputs: Array, name: str) -> None:
    """Raise ValueError unless y holds probabilities and has the shape of the outputs `name`."""
    require_same_shape(y, outputs, f"y and {name}")
    require_probabilities(y, "y")
