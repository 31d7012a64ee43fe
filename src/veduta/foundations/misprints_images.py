"""Sections 2 and 4.7 as printed, beside what holds: two numbers an erratum, computed.

Each function returns how far off the printed form is, then the corrected one. `errata` says what
was printed and in which unit the distance is.
"""

import numpy as np

from veduta.foundations import batch_norm, conv_backprop, convolution, pooling
from veduta.foundations.arrays import Array
from veduta.foundations.gradcheck import numerical_gradient, relative_error
from veduta.foundations.oracles import draw

Distances = tuple[float, float]


def size_without_floor() -> Distances:
    """Against the positions counted one by one, for the sizes of the report's own network."""
    widths = np.array([146, 44, 10])
    counted = np.array([len(range(0, width - 3 + 1, 3)) for width in widths])
    formula = np.array([pooling.output_size(int(width), 3, stride=3) for width in widths])
    printed = (widths - 3) / 3 + 1
    return float(np.abs(printed - counted).max()), float(np.abs(formula - counted).max())


def diagonals(z: Array, p: int) -> Array:
    """The diagonal of each touching p x p region: all that one index for two sees."""
    regions = np.lib.stride_tricks.sliding_window_view(z, (p, p), axis=(2, 3))
    return np.diagonal(regions[:, :, ::p, ::p], axis1=-2, axis2=-1)


def max_over_diagonal() -> Distances:
    """Against the sorted entries of each region."""
    z = draw(1, 1, 6, 6)
    truth = np.sort(z.reshape(3, 2, 3, 2).swapaxes(1, 2).reshape(3, 3, 4))[None, None, ..., -1]
    printed = diagonals(z, 2).max(axis=-1)
    corrected = pooling.max_pool(z, 2)
    return float(np.abs(printed - truth).max()), float(np.abs(corrected - truth).max())


def norm_over_diagonal() -> Distances:
    """Against the Euclidean norm of each region."""
    z = draw(1, 1, 6, 6)
    regions = z.reshape(3, 2, 3, 2).swapaxes(1, 2).reshape(3, 3, 4)
    truth = np.linalg.norm(regions, axis=-1)[None, None]
    printed = np.sqrt(2 * (diagonals(z, 2) ** 2).sum(axis=-1))  # the outer sum repeats the inner
    corrected = pooling.l2_pool(z, 2)
    return float(np.abs(printed - truth).max()), float(np.abs(corrected - truth).max())


def norm_called_average() -> Distances:
    """The average of ones is 1, whatever p: the norm, and the norm over p."""
    norm = float(pooling.l2_pool(np.ones((1, 1, 3, 3)), 3)[0, 0, 0, 0])
    return abs(norm - 1), abs(norm / 3 - 1)


def one_term_of_the_sum() -> Distances:
    """(33) with the last of its terms alone, and with all, against central differences."""
    z, w, delta = draw(4, 4), draw(3, 3, seed=1), draw(2, 2, seed=2)

    def cost(at: Array) -> float:
        maps = convolution.convolve(at[None, None], w[None, None], b=np.zeros(1))
        return float((delta * maps).sum())

    alone = np.zeros((2, 2))
    alone[-1, -1] = delta[-1, -1]
    truth, slope = numerical_gradient(cost, z), np.ones((4, 4))
    printed = conv_backprop.hidden_error_by_sums(alone, w, slope=slope)
    corrected = conv_backprop.hidden_error_by_sums(delta, w, slope=slope)
    return relative_error(printed, truth), relative_error(corrected, truth)


def tied_bias_unsummed() -> Distances:
    """A tied bias moved by the error of one position, and of all, against central differences."""
    z, w, delta = draw(1, 1, 5, 5), draw(2, 1, 3, 3, seed=1), draw(1, 2, 3, 3, seed=2)
    truth = numerical_gradient(
        lambda b: float((delta * convolution.convolve(z, w, b=b)).sum()), np.zeros(2)
    )
    printed = conv_backprop.bias_gradient(delta)[:, 0, 0]
    corrected = conv_backprop.tied_bias_gradient(delta)
    return relative_error(printed, truth), relative_error(corrected, truth)


def division_by_zero() -> Distances:
    """A feature that is the same in the whole batch has no deviation to divide by."""
    z = np.full((4, 1), 3.0)
    mean, variance = batch_norm.batch_statistics(z)
    with np.errstate(invalid="ignore"):
        printed = float(np.abs((z - mean) / np.sqrt(variance)).max())
    corrected = batch_norm.normalised(z, batch_norm.Statistics(mean, variance))
    return float(np.nan_to_num(printed, nan=np.inf)), float(np.abs(corrected).max())


def statistics_of_one() -> Distances:
    """One image alone, by its own statistics and by running ones, against those of all data."""
    data = 3 + 2 * draw(1000, 5)
    batch = batch_norm.batch_statistics(data)
    running = batch_norm.Statistics(np.zeros(5), np.ones(5))
    for _ in range(200):
        running = batch_norm.updated(running, batch, count=len(data))
    truth = (data[:1] - data.mean(axis=0)) / data.std(axis=0)
    printed = batch_norm.normalised(data[:1], batch_norm.batch_statistics(data[:1]))
    corrected = batch_norm.normalised(data[:1], running)
    return relative_error(printed, truth), relative_error(corrected, truth)
