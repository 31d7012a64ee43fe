"""Measurements of the printed and the corrected form of each erratum.

Each function returns two numbers: the error of the printed form and that of the corrected form.
`errata` states what was printed and what the numbers measure.
"""

import itertools
import math

import numpy as np

from veduta.foundations import (
    activations,
    backprop,
    batch_norm,
    conv_backprop,
    convolution,
    descent,
    losses,
    network,
    pooling,
    regularization,
)
from veduta.foundations.arrays import Array
from veduta.foundations.checks import draw_normal, numerical_gradient, relative_error
from veduta.foundations.optimizers import momentum_step

Errors = tuple[float, float]
PRINTED_RESULT = np.array([0.215681, 1.50976, 0.21568])  # w_1, w_2, b of Algorithm 1
PROBLEMS = ((2.0, 1.0), (1.0, 0.0))  # (x_1, b^{(0)}) as printed, and as needed for its result
AFTER_5_EPOCHS = (0.206, 0.311, 0.021, 0.048)  # |z - 11| for both problems, then both costs


def run_algorithm_1(x_1: float, b: float, *, epochs: int = 15) -> descent.Path:
    """Run Algorithm 1 for the target 11 and x = (x_1, 7), starting from w = 0 and this bias."""
    start, x = np.array([0.0, 0.0, b]), np.array([x_1, 7.0])
    return descent.gradient_descent(start, x, y=11.0, epochs=epochs)


def measure_algorithm_1_result() -> Errors:
    """Compare the printed result with those of the printed and of the corrected problem."""
    results = [run_algorithm_1(x_1, b).parameters[-1] for x_1, b in PROBLEMS]
    printed, corrected = (float(np.abs(result - PRINTED_RESULT).max()) for result in results)
    return printed, corrected


def format_algorithm_1_result() -> str:
    """Return the result of Algorithm 1 for the problem as printed, in TeX."""
    path = run_algorithm_1(*PROBLEMS[0])
    w_1, w_2, b = path.parameters[-1]
    return f"$w = ({w_1:.6f}, {w_2:.6f})$, $b = {b:.6f}$, $z = {path.outputs[-1]:.6f}$"


def measure_after_5_epochs() -> list[float]:
    """Return |z - 11| after 5 epochs for both problems, followed by both costs."""
    paths = [run_algorithm_1(x_1, b, epochs=5) for x_1, b in PROBLEMS]
    errors = [abs(float(path.outputs[-1]) - 11) for path in paths]
    return errors + [float(path.costs[-1]) for path in paths]


def count_orders(error: float, claimed: float) -> float:
    """Return the distance between an error and a claimed error in orders of magnitude."""
    return abs(math.log10(error / claimed))


def measure_order_after_15_epochs() -> Errors:
    """Compare |z - 11| for the corrected problem with the printed and the corrected order."""
    error = abs(run_algorithm_1(1.0, 0.0).outputs[-1] - 11)
    return count_orders(error, 1e-5), count_orders(error, 2.5e-4)


def measure_order_after_5_epochs() -> Errors:
    """Compare |z - 11| with the printed order, and all four numbers with their known values."""
    numbers = measure_after_5_epochs()
    return count_orders(numbers[0], 1e-2), max(map(count_orders, numbers, AFTER_5_EPOCHS))


def measure_tanh() -> Errors:
    """Compare both forms with sinh x / cosh x on [-20, 20]."""
    x = np.linspace(-20, 20, 401)
    expected = np.sinh(x) / np.cosh(x)
    printed = activations.sigmoid(2 * x)
    return float(np.abs(printed - expected).max()), float(np.abs(2 * printed - 1 - expected).max())


def measure_relu_claim() -> Errors:
    """Return the fraction of [-1, 1] where ReLU or its slope is <= 0: for any x, and for x > 0."""
    x = np.linspace(-1, 1, 2000)
    fails = (activations.relu(x) <= 0) | (activations.relu_derivative(x) <= 0)
    return float(fails.mean()), float((fails & (x > 0)).mean())


def measure_algorithm_2_order() -> Errors:
    """Compare the gradient of W^2, with W^3 updated before or after, with central differences.

    The network has 3, 5 and 2 neurons; the learning rate is 0.5.
    """
    x, y = draw_normal(1, 3), draw_normal(1, 2, seed=1)
    net = [
        (draw_normal(5, 3, seed=2), draw_normal(5, seed=3)),
        (draw_normal(2, 5, seed=4), draw_normal(2, seed=5)),
    ]

    def cost(w: Array) -> float:
        changed = [(w, net[0][1]), net[1]]
        return network.cost(changed, x, y=y, measure=losses.mean_squared_error)

    z = network.layer_output(net[0][0], x, b=net[0][1])
    a = activations.sigmoid(z)
    z_last = network.layer_output(net[1][0], a, b=net[1][1])
    slope = activations.sigmoid_derivative(z_last)
    gradient = losses.mean_squared_error_gradient(y, activations.sigmoid(z_last))
    delta = backprop.output_error(gradient, slope)
    updated = net[1][0] - 0.5 * backprop.weight_gradient(delta, a)
    expected, errors = numerical_gradient(cost, net[0][0]), []
    for w_next in (updated, net[1][0]):
        hidden = backprop.hidden_error(delta, w_next, slope=activations.sigmoid_derivative(z))
        errors.append(relative_error(backprop.weight_gradient(hidden, x), expected))
    return errors[0], errors[1]


def measure_mini_batch_factor() -> Errors:
    """Compare the average over three batches of two with the gradient of all six samples."""
    gradients = draw_normal(6, 3)
    batches = np.arange(6).reshape(3, 2)
    expected = losses.total_gradient(gradients)
    printed = np.mean([losses.total_gradient(gradients[batch]) for batch in batches], axis=0)
    corrected = [losses.mini_batch_gradient(gradients, batch) for batch in batches]
    return relative_error(printed, expected), relative_error(np.mean(corrected, axis=0), expected)


def measure_likelihood_index() -> Errors:
    """Compare (27) with the cross-entropy, where i is the most likely class or the true class."""
    z, label = np.array([[3.0, 1.0, 0.0]]), np.array([1])
    expected = -(losses.one_hot(label, 3) * np.log(losses.softmax(z))).sum()
    costs = [losses.negative_log_likelihood(z, i)[0] for i in (z.argmax(axis=1), label)]
    return abs(float(costs[0] - expected)), abs(float(costs[1] - expected))


def measure_output_size_rounding() -> Errors:
    """Compare the size formulas with counted positions, for the sizes in the report's network."""
    widths = np.array([146, 44, 10])
    counts = np.array([len(range(0, width - 3 + 1, 3)) for width in widths])
    corrected = np.array([pooling.output_size(int(width), 3, stride=3) for width in widths])
    printed = (widths - 3) / 3 + 1
    return float(np.abs(printed - counts).max()), float(np.abs(corrected - counts).max())


def extract_diagonals(z: Array, p: int) -> Array:
    """Return the diagonals of all p x p regions: the entries that a single index selects."""
    regions = np.lib.stride_tricks.sliding_window_view(z, (p, p), axis=(2, 3))
    return np.diagonal(regions[:, :, ::p, ::p], axis1=-2, axis2=-1)


def measure_max_pool_indices() -> Errors:
    """Compare the maximum over one index, and over two, with the largest entry of each region."""
    z = draw_normal(1, 1, 6, 6)
    regions = z.reshape(3, 2, 3, 2).swapaxes(1, 2).reshape(3, 3, 4)
    expected = np.sort(regions)[None, None, ..., -1]
    printed = extract_diagonals(z, 2).max(axis=-1)
    corrected = pooling.max_pool(z, 2)
    return float(np.abs(printed - expected).max()), float(np.abs(corrected - expected).max())


def measure_l2_pool_indices() -> Errors:
    """Compare the norm over one index, and over two, with the Euclidean norm of each region."""
    z = draw_normal(1, 1, 6, 6)
    regions = z.reshape(3, 2, 3, 2).swapaxes(1, 2).reshape(3, 3, 4)
    expected = np.linalg.norm(regions, axis=-1)[None, None]
    printed = np.sqrt(2 * (extract_diagonals(z, 2) ** 2).sum(axis=-1))  # factor 2: the outer sum
    corrected = pooling.l2_pool(z, 2)
    return float(np.abs(printed - expected).max()), float(np.abs(corrected - expected).max())


def measure_l2_pool_as_average() -> Errors:
    """Compare the L2 norm, and the norm divided by p, with 1, the average of a map of ones."""
    norm = float(pooling.l2_pool(np.ones((1, 1, 3, 3)), 3)[0, 0, 0, 0])
    return abs(norm - 1), abs(norm / 3 - 1)


def measure_missing_sum() -> Errors:
    """Compare the last term of (33), and the sum of all terms, with central differences."""
    z, w, delta = draw_normal(4, 4), draw_normal(3, 3, seed=1), draw_normal(2, 2, seed=2)

    def cost(at: Array) -> float:
        maps = convolution.convolve(at[None, None], w[None, None], b=np.zeros(1))
        return float((delta * maps).sum())

    last_term = np.zeros((2, 2))
    last_term[-1, -1] = delta[-1, -1]
    expected, slope = numerical_gradient(cost, z), np.ones((4, 4))
    printed = conv_backprop.hidden_error_by_sums(last_term, w, slope=slope)
    corrected = conv_backprop.hidden_error_by_sums(delta, w, slope=slope)
    return relative_error(printed, expected), relative_error(corrected, expected)


def measure_tied_bias_gradient() -> Errors:
    """Compare the error at one position, and summed over all, with central differences."""
    z, w = draw_normal(1, 1, 5, 5), draw_normal(2, 1, 3, 3, seed=1)
    delta = draw_normal(1, 2, 3, 3, seed=2)
    expected = numerical_gradient(
        lambda b: float((delta * convolution.convolve(z, w, b=b)).sum()), np.zeros(2)
    )
    printed = conv_backprop.bias_gradient(delta)[:, 0, 0]
    corrected = conv_backprop.tied_bias_gradient(delta)
    return relative_error(printed, expected), relative_error(corrected, expected)


def measure_momentum_sign() -> Errors:
    """Return C = w^2 / 2 after 50 steps from w = 1, with mu = 0.9 and eta = 0.01."""
    costs = []
    for sign in (-1.0, 1.0):  # the printed sign is that of gradient ascent
        w, v = np.ones(1), np.zeros(1)
        for _ in range(50):
            w, v = momentum_step(w, v, gradient=sign * w, lr=0.01, mu=0.9)
        costs.append(float(w[0] ** 2 / 2))
    return costs[0], costs[1]


def measure_penalty_scales() -> Errors:
    """Return (38b) / (38a) - 1 for one weight of 1 and ten samples; equal scales give 0."""
    weights, lam, n = [np.ones(1)], 0.3, 10
    l2 = regularization.l2_cost(0.0, weights, lam=lam, n=n)
    l1 = regularization.l1_cost(0.0, weights, lam=lam, n=n)
    return lam / 2 / l2 - 1, l1 / l2 - 1


def measure_double_weight_decay() -> Errors:
    """Compare (39), applied to the gradient of C or of C_0, with a gradient step on C."""
    w, lr, lam, n = draw_normal(4), 0.1, 5.0, 10
    penalized = numerical_gradient(
        lambda at: regularization.l2_cost(float((at**4).sum()) / 4, [at], lam=lam, n=n), w
    )
    expected = w - lr * penalized
    steps = [
        regularization.weight_decay_step(w, gradient, lr=lr, lam=lam, n=n)
        for gradient in (penalized, w**3)
    ]
    return relative_error(steps[0], expected), relative_error(steps[1], expected)


def measure_pre_activation() -> Errors:
    """Compare psi(W a + b), and W a + b, with the pre-activations (7a)."""
    w, a, b = draw_normal(2, 3), draw_normal(4, 3, seed=1), draw_normal(2, seed=2)
    z, expected = network.layer_output(w, a, b=b), network.stacked_outputs(w, a, b=b)
    return relative_error(activations.sigmoid(z), expected), relative_error(z, expected)


def measure_dropout_scale() -> Errors:
    """Compare the mean over all dropout masks of three nodes with the evaluation output, a = 1."""
    keep, ones = 0.5, np.ones(3)
    means = np.zeros((2, 3))
    for mask in itertools.product((0.0, 1.0), repeat=3):
        probability = keep ** sum(mask) * (1 - keep) ** (3 - sum(mask))
        means += probability * np.stack([ones * mask, ones * mask / keep])
    printed, corrected = np.abs(means - regularization.dropout_in_evaluation(ones)).max(axis=1)
    return float(printed), float(corrected)


def measure_dropout_per_epoch() -> Errors:
    """Return the fraction of 1000 nodes not trained in an epoch, for one mask and for 20."""
    rng = np.random.default_rng(0)
    masks = [regularization.dropout(np.ones(1000), 0.5, rng=rng)[1] > 0 for _ in range(20)]
    return 1 - float(masks[0].mean()), 1 - float(np.any(masks, axis=0).mean())


def measure_division_by_zero() -> Errors:
    """Return the largest normalized value of a constant feature, without and with epsilon."""
    z = np.full((4, 1), 3.0)
    statistics = batch_norm.batch_statistics(z)
    with np.errstate(invalid="ignore"):
        printed = float(np.abs((z - statistics.mean) / np.sqrt(statistics.variance)).max())
    corrected = batch_norm.normalize(z, statistics)
    return float(np.nan_to_num(printed, nan=np.inf)), float(np.abs(corrected).max())


def measure_single_image_statistics() -> Errors:
    """Compare an image normalized by its own, or by running, statistics with those of all data."""
    data = 3 + 2 * draw_normal(1000, 5)
    batch = batch_norm.batch_statistics(data)
    running = batch_norm.Statistics(np.zeros(5), np.ones(5))
    for _ in range(200):
        running = batch_norm.update_running_statistics(running, batch, count=len(data))
    expected = (data[:1] - data.mean(axis=0)) / data.std(axis=0)
    printed = batch_norm.normalize(data[:1], batch_norm.batch_statistics(data[:1]))
    corrected = batch_norm.normalize(data[:1], running)
    return relative_error(printed, expected), relative_error(corrected, expected)
