"""Checks of sections 4 and 5: momentum, penalties, batch normalization, the search space."""

import numpy as np

from veduta.foundations import batch_norm, optimizers, regularization, search_space
from veduta.foundations.arrays import Array
from veduta.foundations.checks import (
    Check,
    Pair,
    draw_normal,
    make_gradient_check,
    numerical_gradient,
)

W, Z, G = draw_normal(5, 3), draw_normal(6, 3, 4, 2, seed=1), draw_normal(6, 3, 4, 2, seed=2)
GAMMA, BETA = np.array([0.5, 1.0, 2.0]), np.array([-1.0, 0.0, 3.0])
LAM, N, LR, SIGNS = 0.3, 10, 0.1, np.array([[-1.0] * 3, [1.0] * 3])


def compare_constant_gradient() -> Pair:
    """Compare 20 steps of (37) for a constant gradient of 1 with sums of the geometric series."""
    w, v = np.zeros(1), np.zeros(1)
    for _ in range(20):
        w, v = optimizers.momentum_step(w, v, gradient=np.ones(1), lr=LR, mu=0.9)
    velocities = -LR * np.cumsum(0.9 ** np.arange(20))
    return np.concatenate([w, v]), np.array([velocities.sum(), velocities[-1]])


def compare_plain_descent() -> Pair:
    """Compare (37) for mu = 0 with plain gradient descent."""
    v = draw_normal(5, 3, seed=3)
    w, _ = optimizers.momentum_step(W, v, gradient=W**3, lr=LR, mu=0.0)
    return w, W - LR * W**3


def compare_weight_decay() -> Pair:
    """Compare (39) with a plain step on the cost (38a), for C_0 = sum of w^4 / 4."""
    gradient = numerical_gradient(
        lambda w: regularization.l2_cost(float((w**4).sum()) / 4, [w], lam=LAM, n=N), W
    )
    return regularization.weight_decay_step(W, W**3, lr=LR, lam=LAM, n=N), W - LR * gradient


def normalize_batch(z: Array, gamma: Array = GAMMA, beta: Array = BETA) -> Array:
    """Return (40) with the statistics of the batch z."""
    return batch_norm.batch_norm(z, batch_norm.batch_statistics(z), gamma=gamma, beta=beta)


def normalize_backward(argument: int) -> Array:
    """Return the gradient of the sum of G * (40) with respect to z (0), gamma (1) or beta (2)."""
    statistics = batch_norm.batch_statistics(Z)
    return batch_norm.batch_norm_backward(G, Z, statistics=statistics, gamma=GAMMA)[argument]


def compare_output_statistics() -> Pair:
    """Compare the mean and standard deviation of (40) for a large variance with beta and gamma."""
    out = normalize_batch(1e4 * Z)
    return np.stack([out.mean(axis=(0, 2, 3)), out.std(axis=(0, 2, 3))]), np.stack([BETA, GAMMA])


def compare_nested_loops() -> Pair:
    """Compare (41) with three nested loops."""
    sets = {"a": [1.0, 2.0], "b": [3.0, 4.0, 5.0], "c": [6.0, 7.0]}
    product = [list(choice.values()) for choice in search_space.cartesian_product(sets)]
    loops = [[a, b, c] for a in sets["a"] for b in sets["b"] for c in sets["c"]]
    return np.array(product), np.array(loops)


CHECKS: dict[str, tuple[Check, ...]] = {
    "37": (
        Check("constant gradient", compare_constant_gradient),
        Check("without momentum", compare_plain_descent),
    ),
    "38a": (
        Check("value by hand", lambda: (
            regularization.l2_cost(1.0, [np.array([3.0, -4.0])], lam=0.2, n=10), 5 / 4)),
        make_gradient_check("gradient", lambda: regularization.l2_gradient(W, lam=LAM, n=N),
                            lambda w: regularization.l2_cost(0.0, [w], lam=LAM, n=N), W),
    ),
    "38b": (
        Check("value by hand", lambda: (
            regularization.l1_cost(1.0, [np.array([3.0, -4.0])], lam=0.2, n=10), 107 / 100)),
        make_gradient_check("gradient", lambda: regularization.l1_gradient(W, lam=LAM, n=N),
                            lambda w: regularization.l1_cost(0.0, [w], lam=LAM, n=N), W),
    ),
    "39": (Check("step on (38a) by central differences", compare_weight_decay, 1e-6),),
    "40": (
        Check("mean is beta, standard deviation is gamma", compare_output_statistics, 1e-9),
        Check("values by hand, for a variance of 1.5e-5", lambda: (
            normalize_batch(np.sqrt(1.5e-5) * SIGNS), BETA + np.sqrt(3 / 5) * SIGNS * GAMMA)),
        make_gradient_check("gradient with respect to z", lambda: normalize_backward(0),
                            lambda z: G * normalize_batch(z), Z),
        make_gradient_check("gradient with respect to gamma", lambda: normalize_backward(1),
                            lambda gamma: G * normalize_batch(Z, gamma=gamma), GAMMA),
        make_gradient_check("gradient with respect to beta", lambda: normalize_backward(2),
                            lambda beta: G * normalize_batch(Z, beta=beta), BETA),
    ),
    "41": (Check("nested loops", compare_nested_loops),),
}  # fmt: skip
