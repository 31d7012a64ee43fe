r"""Batch normalisation (report section 4.7, equation 40).

Every feature is brought to mean 0 and deviation 1 over the batch, then to a mean and deviation that
are learned. Shapes: z is (N, features), or (N, channels, H, W), where a channel is one feature
whose mean is taken over its pixels too; gamma and beta are (features,).
"""

from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, require, require_same_shape

EPSILON = 1e-5


class Statistics(NamedTuple):
    """Mean and variance of each feature, as (features,)."""

    mean: Array
    variance: Array


def batch_statistics(z: Array) -> Statistics:
    r"""Section 4.7: \mu^l and (\sigma^l)^2 over the batch, the variance divided by N.

    >>> batch_statistics(np.array([[1.0], [3.0]]))
    Statistics(mean=array([2.]), variance=array([1.]))
    """
    axes = batch_axes(z)
    return Statistics(z.mean(axis=axes), z.var(axis=axes))


def batch_norm(z: Array, statistics: Statistics, *, gamma: Array, beta: Array) -> Array:
    r"""Equation 40: \tilde{z}^l = \gamma \frac{z^l - \mu^l}{\sqrt{\sigma^2 + \epsilon}} + \beta.

    In training the statistics are those of the batch; in evaluation the running ones.

    Args:
        z: outputs of a layer, (N, features) or (N, channels, H, W).
        statistics: mean and variance, each (features,).
        gamma: \gamma, the deviation to bring each feature to.
        beta: \beta, the mean to bring each feature to.

    >>> z = np.array([[1.0], [3.0]])
    >>> batch_norm(z, batch_statistics(z), gamma=np.array([2.0]), beta=np.array([5.0])).round(3)
    array([[3.],
           [7.]])
    """
    require_features(z, "gamma and beta", gamma, beta)
    return spread(gamma, z) * normalised(z, statistics) + spread(beta, z)


def batch_norm_backward(
    delta: Array, z: Array, *, statistics: Statistics, gamma: Array
) -> tuple[Array, Array, Array]:
    r"""Derivative of (40) in training: through z, and through the mean and deviation it gives.

    \partial C/\partial z = \gamma (\delta - \bar{\delta} - \hat{z}\,\overline{\delta \hat{z}}) /
    \sqrt{\sigma^2 + \epsilon}, the bar a mean over the batch.

    Args:
        delta: \partial C / \partial \tilde{z}, of z's shape.
        z: what the layer received.
        statistics: those of this batch.
        gamma: \gamma, (features,).

    Returns:
        The gradients by z, gamma and beta.

    >>> z = np.array([[1.0], [3.0]])
    >>> _, dgamma, dbeta = batch_norm_backward(
    ...     np.array([[0.0], [1.0]]), z, statistics=batch_statistics(z), gamma=np.array([1.0])
    ... )
    >>> dgamma.round(3), dbeta
    (array([1.]), array([1.]))
    """
    require_same_shape(delta, z, "delta and z")
    require_features(z, "gamma", gamma)
    axes, z_hat = batch_axes(z), normalised(z, statistics)
    dbeta, dgamma = delta.sum(axis=axes), (delta * z_hat).sum(axis=axes)
    count = z.size / z.shape[1]
    centred = delta - spread(dbeta, z) / count - z_hat * spread(dgamma, z) / count
    scale = gamma / np.sqrt(statistics.variance + EPSILON)
    return spread(scale, z) * centred, dgamma, dbeta


def updated(running: Statistics, batch: Statistics, *, count: int, rate: float = 0.1) -> Statistics:
    r"""Section 4.7, running statistics: \mu = (1 - r) \mu + r \mu_{\mathrm{batch}}.

    \sigma^2 likewise. The variance of a batch of n values is divided by n - 1 here, as PyTorch
    does, since it stands for values outside the batch.

    Args:
        running: what evaluation would use so far.
        batch: `batch_statistics` of this batch.
        count: values a feature has in the batch: N, or N x H x W.
        rate: r, PyTorch's `momentum`.

    >>> start = Statistics(np.array([0.0]), np.array([1.0]))
    >>> updated(start, Statistics(np.array([2.0]), np.array([1.0])), count=2)
    Statistics(mean=array([0.2]), variance=array([1.1]))
    """
    require(count >= 2, "a deviation needs two values or more", count)
    require(0 <= rate <= 1, "rate lies in [0, 1]", rate)
    for old, new in zip(running, batch, strict=True):
        require_same_shape(old, new, "running and batch statistics")
    variance = batch.variance * count / (count - 1)
    pairs = zip(running, (batch.mean, variance), strict=True)
    return Statistics(*((1 - rate) * old + rate * new for old, new in pairs))


def normalised(z: Array, statistics: Statistics) -> Array:
    r"""Equation 40 without \gamma and \beta: \hat{z} = (z - \mu) / \sqrt{\sigma^2 + \epsilon}.

    >>> normalised(np.array([[3.0]]), Statistics(np.array([1.0]), np.array([4.0]))).round(3)
    array([[1.]])
    """
    require_features(z, "mean and variance", *statistics)
    require(np.all(statistics.variance >= 0), "a variance is 0 or more", statistics.variance)
    return (z - spread(statistics.mean, z)) / np.sqrt(spread(statistics.variance, z) + EPSILON)


def batch_axes(z: Array) -> tuple[int, ...]:
    """Every axis but the second, which tells features apart."""
    require(z.ndim in {2, 4} and z.size, "z is (N, features) or (N, channels, H, W)", z.shape)
    return (0, *range(2, z.ndim))


def require_features(z: Array, names: str, *values: Array) -> None:
    """Raise ValueError unless each of the values is one number a feature of z."""
    received = f"{', '.join(str(value.shape) for value in values)} for {z.shape}"
    require(all(value.shape == z.shape[1:2] for value in values), f"{names}: (features,)", received)


def spread(feature_values: Array, z: Array) -> Array:
    """One value a feature, in a shape that broadcasts against z."""
    return feature_values.reshape(-1, *[1] * (z.ndim - 2))
