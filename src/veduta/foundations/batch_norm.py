r"""Batch normalization (report section 4.7, equation 40).

Each feature is normalized to mean 0 and standard deviation 1 over the batch, then scaled and
shifted by learned parameters. Shapes: z is (N, features) or (N, channels, H, W); in the second case
each channel is one feature, and the statistics are also taken over its pixels. gamma and beta are
(features,).
"""

from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, require, require_same_shape

EPSILON = 1e-5


class Statistics(NamedTuple):
    """Mean and variance of each feature, both (features,)."""

    mean: Array
    variance: Array


def batch_statistics(z: Array) -> Statistics:
    r"""Section 4.7: \mu^l and (\sigma^l)^2 over the batch; the variance is divided by N.

    >>> batch_statistics(np.array([[1.0], [3.0]]))
    Statistics(mean=array([2.]), variance=array([1.]))
    """
    axes = reduction_axes(z)
    return Statistics(z.mean(axis=axes), z.var(axis=axes))


def batch_norm(z: Array, statistics: Statistics, *, gamma: Array, beta: Array) -> Array:
    r"""Equation 40: \tilde{z}^l = \gamma \frac{z^l - \mu^l}{\sqrt{\sigma^2 + \epsilon}} + \beta.

    Training uses the statistics of the batch, evaluation uses running statistics.

    Args:
        z: pre-activations of a layer, (N, features) or (N, channels, H, W).
        statistics: mean and variance, each (features,).
        gamma: \gamma, the learned scale of each feature, (features,).
        beta: \beta, the learned shift of each feature, (features,).

    >>> z = np.array([[1.0], [3.0]])
    >>> batch_norm(z, batch_statistics(z), gamma=np.array([2.0]), beta=np.array([5.0])).round(3)
    array([[3.],
           [7.]])
    """
    require_features(z, "gamma and beta", gamma, beta)
    return broadcast_features(gamma, z) * normalize(z, statistics) + broadcast_features(beta, z)


def batch_norm_backward(
    delta: Array, z: Array, *, statistics: Statistics, gamma: Array
) -> tuple[Array, Array, Array]:
    r"""Derivative of (40) in training, where mean and variance depend on z as well.

    \partial C/\partial z = \gamma (\delta - \bar{\delta} - \hat{z}\,\overline{\delta \hat{z}}) /
    \sqrt{\sigma^2 + \epsilon}, where bars denote means over the batch.

    Args:
        delta: \partial C / \partial \tilde{z}, in the shape of z.
        z: input of the forward pass, (N, features) or (N, channels, H, W).
        statistics: statistics of this batch.
        gamma: \gamma, (features,).

    Returns:
        The gradients with respect to z, gamma and beta.

    >>> z = np.array([[1.0], [3.0]])
    >>> _, dgamma, dbeta = batch_norm_backward(
    ...     np.array([[0.0], [1.0]]), z, statistics=batch_statistics(z), gamma=np.array([1.0])
    ... )
    >>> dgamma.round(3), dbeta
    (array([1.]), array([1.]))
    """
    require_same_shape(delta, z, "delta and z")
    require_features(z, "gamma", gamma)
    axes, z_hat = reduction_axes(z), normalize(z, statistics)
    dbeta, dgamma = delta.sum(axis=axes), (delta * z_hat).sum(axis=axes)
    count = z.size / z.shape[1]
    centered = (
        delta - broadcast_features(dbeta, z) / count - z_hat * broadcast_features(dgamma, z) / count
    )
    scale = gamma / np.sqrt(statistics.variance + EPSILON)
    return broadcast_features(scale, z) * centered, dgamma, dbeta


def update_running_statistics(
    running: Statistics, batch: Statistics, *, count: int, rate: float = 0.1
) -> Statistics:
    r"""Section 4.7, running statistics: \mu = (1 - r) \mu + r \mu_{\mathrm{batch}}.

    \sigma^2 is updated the same way. As in PyTorch, the batch variance is divided by n - 1 here,
    because it estimates the variance of values outside the batch.

    Args:
        running: running statistics so far.
        batch: `batch_statistics` of the current batch.
        count: n, the number of values per feature in the batch: N, or N x H x W.
        rate: r, called `momentum` in PyTorch.

    >>> start = Statistics(np.array([0.0]), np.array([1.0]))
    >>> batch = Statistics(np.array([2.0]), np.array([1.0]))
    >>> update_running_statistics(start, batch, count=2)
    Statistics(mean=array([0.2]), variance=array([1.1]))
    """
    require(count >= 2, "the variance of a batch needs 2 or more values per feature", count)
    require(0 <= rate <= 1, "rate must lie in [0, 1]", rate)
    for old, new in zip(running, batch, strict=True):
        require_same_shape(old, new, "running and batch statistics")
    variance = batch.variance * count / (count - 1)
    pairs = zip(running, (batch.mean, variance), strict=True)
    return Statistics(*((1 - rate) * old + rate * new for old, new in pairs))


def normalize(z: Array, statistics: Statistics) -> Array:
    r"""Equation 40 without \gamma and \beta: \hat{z} = (z - \mu) / \sqrt{\sigma^2 + \epsilon}.

    >>> normalize(np.array([[3.0]]), Statistics(np.array([1.0]), np.array([4.0]))).round(3)
    array([[1.]])
    """
    require_features(z, "mean and variance", *statistics)
    valid = np.all(statistics.variance >= 0)
    require(valid, "the variance must be 0 or more", statistics.variance)
    mean, variance = (broadcast_features(values, z) for values in statistics)
    return (z - mean) / np.sqrt(variance + EPSILON)


def reduction_axes(z: Array) -> tuple[int, ...]:
    """Return all axes except the feature axis, which is the second."""
    valid = z.ndim in {2, 4} and z.size
    require(valid, "z must be (N, features) or (N, channels, H, W)", z.shape)
    return (0, *range(2, z.ndim))


def require_features(z: Array, names: str, *arrays: Array) -> None:
    """Raise ValueError unless each of the arrays holds one number per feature of z."""
    received = f"{', '.join(str(array.shape) for array in arrays)} for z of shape {z.shape}"
    valid = all(array.shape == z.shape[1:2] for array in arrays)
    require(valid, f"{names} must be (features,)", received)


def broadcast_features(values: Array, z: Array) -> Array:
    """Reshape `values`, one number per feature, so that they broadcast against z."""
    return values.reshape(-1, *[1] * (z.ndim - 2))
