"""Checks of sections 4 and 5: momentum, penalties, batch normalisation, the product space."""

import numpy as np

from veduta.foundations import batch_norm, hyperspace, momentum, regularisation
from veduta.foundations.arrays import Array
from veduta.foundations.gradcheck import numerical_gradient
from veduta.foundations.oracles import Check, Pair, differences, draw

W, Z, G = draw(5, 3), draw(6, 3, 4, 2, seed=1), draw(6, 3, 4, 2, seed=2)
GAMMA, BETA = np.array([0.5, 1.0, 2.0]), np.array([-1.0, 0.0, 3.0])
LAM, N, LR, SIGNS = 0.3, 10, 0.1, np.array([[-1.0] * 3, [1.0] * 3])


def constant_slope() -> Pair:
    """(37) down a slope of 1: the velocity is a geometric series, the way its sum."""
    w, v = np.zeros(1), np.zeros(1)
    for _ in range(20):
        w, v = momentum.momentum_step(w, v, gradient=np.ones(1), lr=LR, mu=0.9)
    terms = -LR * np.cumsum(0.9 ** np.arange(20))
    return np.concatenate([w, v]), np.array([terms.sum(), terms[-1]])


def without_momentum() -> Pair:
    """(37) with mu = 0 is plain gradient descent."""
    w, _ = momentum.momentum_step(W, draw(5, 3, seed=3), gradient=W**3, lr=LR, mu=0.0)
    return w, W - LR * W**3


def decayed() -> Pair:
    """(39) against a plain step down the cost (38a), C_0 = sum of w^4 / 4, by differences."""
    numeric = numerical_gradient(
        lambda w: regularisation.l2_cost(float((w**4).sum()) / 4, [w], lam=LAM, n=N), W
    )
    return regularisation.weight_decay_step(W, W**3, lr=LR, lam=LAM, n=N), W - LR * numeric


def normalised(z: Array) -> Array:
    """(40) in training."""
    return batch_norm.batch_norm(z, batch_norm.batch_statistics(z), gamma=GAMMA, beta=BETA)


def moments() -> Pair:
    """What (40) gives has mean beta and deviation gamma, up to epsilon."""
    out = normalised(1e4 * Z)
    return np.stack([out.mean(axis=(0, 2, 3)), out.std(axis=(0, 2, 3))]), np.stack([BETA, GAMMA])


def normalised_backward(which: int) -> Array:
    """The derivative of (40) by z (0), gamma (1) or beta (2), weighted by G."""
    statistics = batch_norm.batch_statistics(Z)
    return batch_norm.batch_norm_backward(G, Z, statistics=statistics, gamma=GAMMA)[which]


def nested_loops() -> Pair:
    """(41) against three loops, one in another."""
    sets = {"a": [1.0, 2.0], "b": [3.0, 4.0, 5.0], "c": [6.0, 7.0]}
    product = [list(choice.values()) for choice in hyperspace.cartesian_product(sets)]
    loops = [[a, b, c] for a in sets["a"] for b in sets["b"] for c in sets["c"]]
    return np.array(product), np.array(loops)


def scaled(z: Array, gamma: Array, beta: Array) -> Array:
    """(40) weighted by G, as a function of gamma and beta."""
    statistics = batch_norm.batch_statistics(z)
    return G * batch_norm.batch_norm(z, statistics, gamma=gamma, beta=beta)


CHECKS: dict[str, tuple[Check, ...]] = {
    "37": (
        Check("down a constant slope", constant_slope),
        Check("without momentum", without_momentum),
    ),
    "38a": (
        Check("by hand", lambda: (
            regularisation.l2_cost(1.0, [np.array([3.0, -4.0])], lam=0.2, n=10), 5 / 4)),
        differences("gradient", lambda: regularisation.l2_gradient(W, lam=LAM, n=N),
                    lambda w: regularisation.l2_cost(0.0, [w], lam=LAM, n=N), W),
    ),
    "38b": (
        Check("by hand", lambda: (
            regularisation.l1_cost(1.0, [np.array([3.0, -4.0])], lam=0.2, n=10), 107 / 100)),
        differences("gradient", lambda: regularisation.l1_gradient(W, lam=LAM, n=N),
                    lambda w: regularisation.l1_cost(0.0, [w], lam=LAM, n=N), W),
    ),
    "39": (Check("a step down (38a), by central differences", decayed, 1e-6),),
    "40": (
        Check("mean beta and deviation gamma", moments, 1e-9),
        Check("by hand, at a variance of 1.5e-5", lambda: (
            normalised(np.sqrt(1.5e-5) * SIGNS), BETA + np.sqrt(3 / 5) * SIGNS * GAMMA)),
        differences("gradient by z", lambda: normalised_backward(0),
                    lambda z: G * normalised(z), Z),
        differences("gradient by gamma", lambda: normalised_backward(1),
                    lambda gamma: scaled(Z, gamma, BETA), GAMMA),
        differences("gradient by beta", lambda: normalised_backward(2),
                    lambda beta: scaled(Z, GAMMA, beta), BETA),
    ),
    "41": (Check("loops in loops", nested_loops),),
}  # fmt: skip
