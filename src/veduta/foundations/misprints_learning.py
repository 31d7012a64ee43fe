"""Sections 1 and 4 as printed, beside what holds: two numbers an erratum, computed.

Each function returns how far off the printed form is, then the corrected one. `errata` says what
was printed and in which unit the distance is.
"""

import itertools
import math

import numpy as np

from veduta.foundations import (
    activations,
    backprop,
    descent,
    dropout,
    losses,
    network,
    regularisation,
    softmax,
)
from veduta.foundations.arrays import Array
from veduta.foundations.gradcheck import numerical_gradient, relative_error
from veduta.foundations.momentum import momentum_step
from veduta.foundations.oracles import draw

Distances = tuple[float, float]
FIGURES = np.array([0.215681, 1.50976, 0.21568])  # Algorithm 1's w_1, w_2, b, as printed
PROBLEMS = ((2.0, 1.0), (1.0, 0.0))  # x_1 and b^{(0)}: as printed, and what the figures belong to
AFTER_5 = (0.206, 0.311, 0.021, 0.048)  # |z - 11| of both, then the cost of both


def printed_path(x_1: float, b: float, *, epochs: int = 15) -> descent.Path:
    """Algorithm 1 towards 11 with x = (x_1, 7), from w = 0 and this b."""
    start, x = np.array([0.0, 0.0, b]), np.array([x_1, 7.0])
    return descent.gradient_descent(start, x, y=11.0, epochs=epochs)


def algorithm_1_figures() -> Distances:
    """The printed figures against the printed problem, and against the one they belong to."""
    ends = [printed_path(x_1, b).parameters[-1] for x_1, b in PROBLEMS]
    printed, corrected = (float(np.abs(end - FIGURES).max()) for end in ends)
    return printed, corrected


def printed_end() -> str:
    """What Algorithm 1 gives for the problem as printed, in TeX."""
    path = printed_path(*PROBLEMS[0])
    w_1, w_2, b = path.parameters[-1]
    return f"$w = ({w_1:.6f}, {w_2:.6f})$, $b = {b:.6f}$, $z = {path.outputs[-1]:.6f}$"


def five_epochs() -> list[float]:
    """|z - 11| after 5 epochs, of both problems, then the cost of both."""
    paths = [printed_path(x_1, b, epochs=5) for x_1, b in PROBLEMS]
    errors = [abs(float(path.outputs[-1]) - 11) for path in paths]
    return errors + [float(path.costs[-1]) for path in paths]


def orders(error: float, claimed: float) -> float:
    """How many powers of ten lie between an error and what is claimed of it."""
    return abs(math.log10(error / claimed))


def order_after_15_epochs() -> Distances:
    """|z - 11| of the problem that the figures belong to."""
    error = abs(printed_path(1.0, 0.0).outputs[-1] - 11)
    return orders(error, 1e-5), orders(error, 2.5e-4)


def order_after_5_epochs() -> Distances:
    """|z - 11| of the printed problem against the claim; all four numbers against the figures."""
    found = five_epochs()
    return orders(found[0], 1e-2), max(map(orders, found, AFTER_5))


def tanh_as_printed() -> Distances:
    """On [-20, 20], against the quotient of hyperbolic sine and cosine."""
    x = np.linspace(-20, 20, 401)
    truth = np.sinh(x) / np.cosh(x)
    printed = activations.sigmoid(2 * x)
    return float(np.abs(printed - truth).max()), float(np.abs(2 * printed - 1 - truth).max())


def relu_claim() -> Distances:
    """Where on [-1, 1] ReLU or its slope is not positive, and where x > 0 and they are not."""
    x = np.linspace(-1, 1, 2000)
    fails = (activations.relu(x) <= 0) | (activations.relu_derivative(x) <= 0)
    return float(fails.mean()), float((fails & (x > 0)).mean())


def algorithm_2_order() -> Distances:
    """Gradient of W^2 in a 3-5-2 net at eta = 0.5, W^3 updated first or not."""
    x, y = draw(1, 3), draw(1, 2, seed=1)
    net = [(draw(5, 3, seed=2), draw(5, seed=3)), (draw(2, 5, seed=4), draw(2, seed=5))]

    def cost(w: Array) -> float:
        changed = [(w, net[0][1]), net[1]]
        return network.cost(changed, x, y=y, measure=losses.mean_square_error)

    z = network.layer_output(net[0][0], x, b=net[0][1])
    a = activations.sigmoid(z)
    z_last = network.layer_output(net[1][0], a, b=net[1][1])
    slope = activations.sigmoid_derivative(z_last)
    gradient = losses.mean_square_error_gradient(y, activations.sigmoid(z_last))
    delta = backprop.output_error(gradient, slope)
    updated = net[1][0] - 0.5 * backprop.weight_gradient(delta, a)
    truth, distances = numerical_gradient(cost, net[0][0]), []
    for w_next in (updated, net[1][0]):
        hidden = backprop.hidden_error(delta, w_next, slope=activations.sigmoid_derivative(z))
        distances.append(relative_error(backprop.weight_gradient(hidden, x), truth))
    return distances[0], distances[1]


def mini_batch_factor() -> Distances:
    """Three batches of two, on average, against all six samples."""
    gradients = draw(6, 3)
    batches = np.arange(6).reshape(3, 2)
    full = losses.total_gradient(gradients)
    printed = np.mean([losses.total_gradient(gradients[batch]) for batch in batches], axis=0)
    corrected = [losses.mini_batch_gradient(gradients, batch) for batch in batches]
    return relative_error(printed, full), relative_error(np.mean(corrected, axis=0), full)


def likelihood_index() -> Distances:
    """A wrong answer's cost with i the likeliest class, and the true one."""
    z, label = np.array([[3.0, 1.0, 0.0]]), np.array([1])
    truth = -(softmax.one_hot(label, 3) * np.log(softmax.softmax(z))).sum()
    costs = [softmax.negative_log_likelihood(z, i)[0] for i in (z.argmax(axis=1), label)]
    return abs(float(costs[0] - truth)), abs(float(costs[1] - truth))


def momentum_upwards() -> Distances:
    """C = w^2 / 2 after 50 steps from w = 1 with mu = 0.9 and eta = 0.01."""
    costs = []
    for sign in (-1.0, 1.0):  # the printed sign is that of descent on -C
        w, v = np.ones(1), np.zeros(1)
        for _ in range(50):
            w, v = momentum_step(w, v, gradient=sign * w, lr=0.01, mu=0.9)
        costs.append(float(w[0] ** 2 / 2))
    return costs[0], costs[1]


def penalty_scales() -> Distances:
    """(38b) over (38a) for one weight of 1 and ten samples; equal scales give 1."""
    weights, lam, n = [np.ones(1)], 0.3, 10
    l2 = regularisation.l2_cost(0.0, weights, lam=lam, n=n)
    l1 = regularisation.l1_cost(0.0, weights, lam=lam, n=n)
    return lam / 2 / l2 - 1, l1 / l2 - 1


def decay_twice() -> Distances:
    """A step of (39) with the gradient of C, and of C_0, against a plain step down C."""
    w, lr, lam, n = draw(4), 0.1, 5.0, 10
    penalised = numerical_gradient(
        lambda at: regularisation.l2_cost(float((at**4).sum()) / 4, [at], lam=lam, n=n), w
    )
    truth = w - lr * penalised
    steps = [
        regularisation.weight_decay_step(w, gradient, lr=lr, lam=lam, n=n)
        for gradient in (penalised, w**3)
    ]
    return relative_error(steps[0], truth), relative_error(steps[1], truth)


def output_called_activation() -> Distances:
    """psi(W a + b), and W a + b, against (7a)."""
    w, a, b = draw(2, 3), draw(4, 3, seed=1), draw(2, seed=2)
    z, truth = network.layer_output(w, a, b=b), network.stacked_outputs(w, a, b=b)
    return relative_error(activations.sigmoid(z), truth), relative_error(z, truth)


def dropout_unscaled() -> Distances:
    """The exact mean over all choices of three nodes, against evaluation, for a = 1."""
    keep, ones = 0.5, np.ones(3)
    means = np.zeros((2, 3))
    for kept in itertools.product((0.0, 1.0), repeat=3):
        chance = keep ** sum(kept) * (1 - keep) ** (3 - sum(kept))
        means += chance * np.stack([ones * kept, ones * kept / keep])
    printed, corrected = np.abs(means - dropout.evaluate(ones)).max(axis=1)
    return float(printed), float(corrected)


def dropout_by_epoch() -> Distances:
    """Share of 1000 nodes that no batch of an epoch trains: one draw, and 20."""
    rng = np.random.default_rng(0)
    draws = [dropout.dropout(np.ones(1000), 0.5, rng=rng)[1] > 0 for _ in range(20)]
    return 1 - float(draws[0].mean()), 1 - float(np.any(draws, axis=0).mean())
