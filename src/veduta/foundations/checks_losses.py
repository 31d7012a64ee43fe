"""Checks of section 1.2.2 from (17) on: costs, mini-batches, the slow-down, softmax."""

import numpy as np

from veduta.foundations import activations, cross_entropy, losses, softmax
from veduta.foundations.arrays import Array
from veduta.foundations.oracles import Check, Pair, differences, draw

Z, A, W = draw(4, 3), draw(4, 5, seed=1), draw(3, 5, seed=2)
Y = np.random.default_rng(3).random((4, 3))
LABELS = np.array([2, 0, 1, 2])
FAR = np.array([[-1e4, 0.0, 1e4]])


def square_cost(z: Array) -> Array:
    """A sample's square error behind a sigmoid, as a function of z."""
    return losses.square_error(Y, activations.sigmoid(z))


def square_delta() -> Array:
    """(22) at Z."""
    slope = activations.sigmoid_derivative(Z)
    return cross_entropy.square_error_delta(Y, activations.sigmoid(Z), slope=slope)


def square_weight_gradient() -> Array:
    """(23) at z = A W^T, over all samples."""
    a = activations.sigmoid(A @ W.T)
    slope = activations.sigmoid_derivative(A @ W.T)
    delta = cross_entropy.square_error_delta(Y, a, slope=slope)
    return np.asarray(cross_entropy.square_error_weight_gradient(delta, A).sum(axis=0))


def entropy_weight_gradient() -> Array:
    """(25) at z = A W^T, over all samples."""
    a = activations.sigmoid(A @ W.T)
    gradients = cross_entropy.cross_entropy_weight_gradient(Y, a, a_before=A)
    return np.asarray(gradients.sum(axis=0))


def entropy_of(z: Array) -> Array:
    """(24) as a function of z, through the sigmoid."""
    return cross_entropy.cross_entropy(Y, activations.sigmoid(z))


def batches_of_two() -> Pair:
    """(21) averaged over all pairs of the four samples, against (20)."""
    pairs = [np.array([i, j]) for i in range(4) for j in range(i)]
    estimates = [losses.mini_batch_gradient(A, pair) for pair in pairs]
    return np.mean(estimates, axis=0), losses.total_gradient(A)


def each_gradient(w: Array) -> Array:
    """The gradient by w of each sample's ½ (y - a . w)², which (20) sums."""
    return (A @ w - Y[:, 0])[:, None] * A


CHECKS: dict[str, tuple[Check, ...]] = {
    "17": (
        Check("pairs in order", lambda: (
            [float(y.sum()) for _, y in losses.training_set(A, Y)], Y.sum(axis=1))),
    ),
    "18": (
        Check("samples one by one", lambda: (
            losses.total_cost(square_cost(Z)), sum(
                float(((y - 1 / (1 + np.exp(-z))) ** 2).sum()) / 2
                for y, z in zip(Y, Z, strict=True)))),
    ),
    "19": (
        Check("by hand", lambda: (
            losses.mean_square_error(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]])), 5 / 4)),
        differences("gradient by a", lambda: losses.mean_square_error_gradient(Y, Z),
                    lambda a: losses.mean_square_error(Y, a), Z),
    ),
    "20": (
        differences("gradient of the sum", lambda: losses.total_gradient(each_gradient(W[0])),
                    lambda w: (Y[:, 0] - A @ w) ** 2 / 2, W[0]),
    ),
    "21": (
        Check("average over all batches of two is (20)", batches_of_two),
        Check("the whole set as a batch is (20)", lambda: (
            losses.mini_batch_gradient(A, np.arange(4)), losses.total_gradient(A))),
    ),
    "22": (differences("delta", square_delta, square_cost, Z),),
    "23": (differences("gradient by W", square_weight_gradient,
                       lambda w: square_cost(A @ w.T), W),),
    "24": (
        Check("equals the form without overflow", lambda: (
            entropy_of(Z), cross_entropy.cross_entropy_of_output(Y, Z))),
        Check("at |z| = 1e4", lambda: (
            cross_entropy.cross_entropy_of_output(np.eye(1, 3), FAR), [2e4 + np.log(2)])),
        differences("gradient by a", lambda: cross_entropy.cross_entropy_gradient(Y, Y[::-1]),
                    lambda a: cross_entropy.cross_entropy(Y, a), Y[::-1].copy()),
        differences("gradient by z", lambda: cross_entropy.cross_entropy_delta(Y, Z),
                    entropy_of, Z),
    ),
    "25": (differences("gradient by W", entropy_weight_gradient,
                       lambda w: entropy_of(A @ w.T), W),),
    "26": (
        Check("by hand", lambda: (
            softmax.softmax(np.log([[1.0, 2.0, 5.0]])), [[1 / 8, 2 / 8, 5 / 8]])),
        Check("at |z| = 1e4", lambda: (softmax.softmax(FAR), [[0, 0, 1]])),
        differences("derivative", lambda: softmax.softmax_backward(Y, softmax.softmax(Z)),
                    lambda z: Y * softmax.softmax(z), Z),
    ),
    "27": (
        Check("-ln of (26)", lambda: (
            softmax.negative_log_likelihood(Z, LABELS),
            [-np.log(row[i]) for row, i in zip(softmax.softmax(Z), LABELS, strict=True)])),
        Check("at |z| = 1e4", lambda: (
            softmax.negative_log_likelihood(FAR, np.array([0])), [2e4])),
        differences("delta", lambda: softmax.negative_log_likelihood_delta(Z, LABELS),
                    lambda z: softmax.negative_log_likelihood(z, LABELS), Z),
    ),
}  # fmt: skip
