"""Checks of section 1.2.2 from (17) on: costs, mini-batches, learning slowdown, softmax."""

import numpy as np

from veduta.foundations import activations, losses
from veduta.foundations.arrays import Array
from veduta.foundations.checks import Check, Pair, draw_normal, make_gradient_check

Z, A, W = draw_normal(4, 3), draw_normal(4, 5, seed=1), draw_normal(3, 5, seed=2)
Y = np.random.default_rng(3).random((4, 3))
LABELS = np.array([2, 0, 1, 2])
LARGE_Z = np.array([[-1e4, 0.0, 1e4]])


def square_cost(z: Array) -> Array:
    """Return the squared error per sample of a sigmoid layer, as a function of z."""
    return losses.squared_error(Y, activations.sigmoid(z))


def square_delta() -> Array:
    """Return (22) for the pre-activations Z."""
    slope = activations.sigmoid_derivative(Z)
    return losses.squared_error_delta(Y, activations.sigmoid(Z), slope=slope)


def square_weight_gradient() -> Array:
    """Return (23) for z = A W^T, summed over all samples."""
    a = activations.sigmoid(A @ W.T)
    slope = activations.sigmoid_derivative(A @ W.T)
    delta = losses.squared_error_delta(Y, a, slope=slope)
    return np.asarray(losses.squared_error_weight_gradient(delta, A).sum(axis=0))


def entropy_cost(z: Array) -> Array:
    """Return the cross-entropy (24) per sample of a sigmoid layer, as a function of z."""
    return losses.cross_entropy(Y, activations.sigmoid(z))


def entropy_weight_gradient() -> Array:
    """Return (25) for z = A W^T, summed over all samples."""
    a = activations.sigmoid(A @ W.T)
    gradients = losses.cross_entropy_weight_gradient(Y, a, a_before=A)
    return np.asarray(gradients.sum(axis=0))


def compare_batch_average() -> Pair:
    """Compare the average of (21) over all batches of two samples with (20)."""
    batches = [np.array([i, j]) for i in range(4) for j in range(i)]
    estimates = [losses.mini_batch_gradient(A, batch) for batch in batches]
    return np.mean(estimates, axis=0), losses.total_gradient(A)


def sample_gradients(w: Array) -> Array:
    """Return the gradient with respect to w of each sample's cost (y - a . w)^2 / 2."""
    return (A @ w - Y[:, 0])[:, None] * A


CHECKS: dict[str, tuple[Check, ...]] = {
    "17": (
        Check("order of the pairs", lambda: (
            [float(y.sum()) for _, y in losses.training_set(A, Y)], Y.sum(axis=1))),
    ),
    "18": (
        Check("explicit sum over samples", lambda: (
            losses.total_cost(square_cost(Z)), sum(
                float(((y - 1 / (1 + np.exp(-z))) ** 2).sum()) / 2
                for y, z in zip(Y, Z, strict=True)))),
    ),
    "19": (
        Check("value by hand", lambda: (
            losses.mean_squared_error(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]])), 5 / 4)),
        make_gradient_check("gradient with respect to a",
                            lambda: losses.mean_squared_error_gradient(Y, Z),
                            lambda a: losses.mean_squared_error(Y, a), Z),
    ),
    "20": (
        make_gradient_check("gradient of the sum",
                            lambda: losses.total_gradient(sample_gradients(W[0])),
                            lambda w: (Y[:, 0] - A @ w) ** 2 / 2, W[0]),
    ),
    "21": (
        Check("average over all batches of two equals (20)", compare_batch_average),
        Check("batch of all samples equals (20)", lambda: (
            losses.mini_batch_gradient(A, np.arange(4)), losses.total_gradient(A))),
    ),
    "22": (make_gradient_check("delta", square_delta, square_cost, Z),),
    "23": (make_gradient_check("gradient with respect to W", square_weight_gradient,
                               lambda w: square_cost(A @ w.T), W),),
    "24": (
        Check("equals the form that avoids overflow", lambda: (
            entropy_cost(Z), losses.cross_entropy_of_output(Y, Z))),
        Check("value for |z| = 1e4", lambda: (
            losses.cross_entropy_of_output(np.eye(1, 3), LARGE_Z), [2e4 + np.log(2)])),
        make_gradient_check("gradient with respect to a",
                            lambda: losses.cross_entropy_gradient(Y, Y[::-1]),
                            lambda a: losses.cross_entropy(Y, a), Y[::-1].copy()),
        make_gradient_check("gradient with respect to z",
                            lambda: losses.cross_entropy_delta(Y, Z), entropy_cost, Z),
    ),
    "25": (make_gradient_check("gradient with respect to W", entropy_weight_gradient,
                               lambda w: entropy_cost(A @ w.T), W),),
    "26": (
        Check("values by hand", lambda: (
            losses.softmax(np.log([[1.0, 2.0, 5.0]])), [[1 / 8, 2 / 8, 5 / 8]])),
        Check("values for |z| = 1e4", lambda: (losses.softmax(LARGE_Z), [[0, 0, 1]])),
        make_gradient_check("derivative", lambda: losses.softmax_backward(Y, losses.softmax(Z)),
                            lambda z: Y * losses.softmax(z), Z),
    ),
    "27": (
        Check("-ln of (26)", lambda: (
            losses.negative_log_likelihood(Z, LABELS),
            [-np.log(row[i]) for row, i in zip(losses.softmax(Z), LABELS, strict=True)])),
        Check("value for |z| = 1e4", lambda: (
            losses.negative_log_likelihood(LARGE_Z, np.array([0])), [2e4])),
        make_gradient_check("delta", lambda: losses.negative_log_likelihood_delta(Z, LABELS),
                            lambda z: losses.negative_log_likelihood(z, LABELS), Z),
    ),
}  # fmt: skip
