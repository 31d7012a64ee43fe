r"""Softmax and the negative log-likelihood (report section 1.2.2, equations 26-27).

Shapes: the logits z are (N, classes), labels are (N,) integers. Only differences between logits
matter, so the largest entry of each row is subtracted first, which prevents overflow.
"""

import numpy as np

from veduta.foundations.arrays import (
    Array,
    Integers,
    require_distributions,
    require_labels,
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
