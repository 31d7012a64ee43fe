"""Checks of section 2: convolution, pooling, and backpropagation through both."""

import numpy as np

from veduta.foundations import activations, conv_backprop, convolution, pooling
from veduta.foundations.arrays import Array
from veduta.foundations.checks import Check, Pair, draw_normal, make_gradient_check
from veduta.foundations.convolution import Border

Z, W = draw_normal(2, 3, 7, 6), draw_normal(4, 3, 3, 3, seed=1)  # images and kernels
G = draw_normal(2, 4, 4, 3, seed=2)  # error of the feature maps for stride 2 and padding 1
P = draw_normal(2, 3, 3, 2, seed=3)  # error of the pooled maps for p = 3 and stride 2
BORDERS: tuple[Border, ...] = ("constant", "wrap", "reflect")


def cost(z: Array, w: Array, border: Border = "constant") -> Array:
    """Return a cost per entry after (30), whose error in the feature maps is G."""
    a, b = activations.tanh(z), np.zeros(4)
    return G * convolution.convolve(a, w, b=b, stride=2, padding=1, border=border)


def hidden_error(border: Border = "constant") -> Array:
    """Return (34) for this cost."""
    slope = activations.tanh_derivative(Z)
    return conv_backprop.hidden_error(G, W, slope=slope, stride=2, padding=1, border=border)


def kernel_gradient(border: Border) -> Array:
    """Return (35) for this cost."""
    a = activations.tanh(Z)
    return conv_backprop.kernel_gradient(G, a, k=3, stride=2, padding=1, border=border)


def make_hidden_error_check(border: Border) -> Check:
    """Return the check of (34) for one kind of border."""
    claim = f"delta, border {border},"
    return make_gradient_check(claim, lambda: hidden_error(border), lambda z: cost(z, W, border), Z)


def make_kernel_gradient_check(border: Border) -> Check:
    """Return the check of (35) for one kind of border."""
    claim = f"gradient with respect to w, border {border},"
    return make_gradient_check(
        claim, lambda: kernel_gradient(border), lambda w: cost(Z, w, border), W
    )


def compare_normal_densities() -> Pair:
    """Compare (28) of two standard normal densities with the density of variance 2."""

    def density(t: Array) -> Array:
        return np.asarray(np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi))

    x, tau = np.linspace(-3, 3, 7), np.linspace(-12, 12, 2001)
    return (
        convolution.convolve_functions(density, density, x=x, tau=tau),
        np.exp(-(x**2) / 4) / np.sqrt(4 * np.pi),
    )


def compare_fourier_transforms() -> Pair:
    """Compare (29) with the inverse of the product of Fourier transforms."""
    f, g = draw_normal(6, 5), draw_normal(3, 3, seed=1)
    weights = draw_normal(6, 5, seed=2)
    product = np.fft.rfft2(weights * f, (8, 7)) * np.fft.rfft2(g, (8, 7))
    return convolution.convolve_discrete(f, g, weights=weights), np.fft.irfft2(product, (8, 7))


def compare_explicit_convolution() -> Pair:
    """Compare (30) with explicit sums, for all positions where x - a and y - b are inside."""
    b = draw_normal(4, 5, 4, seed=3)
    sums = np.zeros((2, 4, 5, 4))
    for i, m, x, y, c, row, column in np.ndindex(2, 4, 5, 4, 3, 3, 3):
        sums[i, m, x, y] += W[m, c, row, column] * Z[i, c, x + 2 - row, y + 2 - column]
    return convolution.convolve(Z, W, b=b), sums + b


def compare_output_sizes(stride: int, k: int, padding: int) -> Pair:
    """Compare a size formula with the number of positions, for images of 5 to 20 pixels."""
    widths = range(5, 21)
    counts = [len(range(0, w + 2 * padding - k + 1, stride)) for w in widths]
    if padding:
        sizes = [convolution.output_size(w, k, padding=padding, stride=stride) for w in widths]
    else:
        sizes = [pooling.output_size(w, k, stride=stride) for w in widths]
    return np.array(sizes), np.array(counts)


def compare_explicit_pooling(kind: str) -> Pair:
    """Compare (31a) or (31b) with a loop over overlapping regions, at stride 2."""
    expected = np.zeros((2, 3, 3, 2))
    for i, m, x, y in np.ndindex(expected.shape):
        region = Z[i, m, 2 * x : 2 * x + 3, 2 * y : 2 * y + 3].ravel().tolist()
        expected[i, m, x, y] = max(region) if kind == "max" else sum(v * v for v in region) ** 0.5
    pool = pooling.max_pool if kind == "max" else pooling.l2_pool
    return pool(Z, 3, stride=2), expected


def compare_hidden_errors() -> Pair:
    """Compare (33) with (34) for one image with one channel."""
    z, w = draw_normal(6, 5), draw_normal(3, 3, seed=1)
    delta = draw_normal(4, 3, seed=2)
    slope = activations.tanh_derivative(z)
    batched = [array[None, None] for array in (delta, w, slope)]
    return (
        conv_backprop.hidden_error_by_sums(delta, w, slope=slope),
        conv_backprop.hidden_error(batched[0], batched[1], slope=batched[2])[0, 0],
    )


def compare_error_by_definition() -> Pair:
    """Compare (32) with (34)."""
    numerical = conv_backprop.error_by_definition(lambda z: float(cost(z, W).sum()), Z)
    return numerical, hidden_error()


CHECKS: dict[str, tuple[Check, ...]] = {
    "28": (Check("two normal densities", compare_normal_densities),),
    "29": (Check("product of Fourier transforms", compare_fourier_transforms),),
    "S1": (Check("number of positions", lambda: compare_output_sizes(3, 5, 2)),),
    "30": (Check("explicit sum over indices", compare_explicit_convolution),),
    "31a": (
        Check("loop over regions", lambda: compare_explicit_pooling("max")),
        make_gradient_check("derivative",
                            lambda: pooling.max_pool_backward(P, Z, p=3, stride=2),
                            lambda z: P * pooling.max_pool(z, 3, stride=2), Z),
    ),
    "31b": (
        Check("loop over regions", lambda: compare_explicit_pooling("l2")),
        make_gradient_check("derivative",
                            lambda: pooling.l2_pool_backward(P, Z, p=3, stride=2),
                            lambda z: P * pooling.l2_pool(z, 3, stride=2), Z),
    ),
    "S2": (Check("number of positions", lambda: compare_output_sizes(2, 3, 0)),),
    "32": (Check("equals (34)", compare_error_by_definition, 1e-6),),
    "33": (Check("equals (34)", compare_hidden_errors),),
    "34": tuple(make_hidden_error_check(border) for border in BORDERS),
    "35": tuple(make_kernel_gradient_check(border) for border in BORDERS),
    "36": (
        make_gradient_check("gradient with respect to an untied b",
                            lambda: conv_backprop.bias_gradient(G),
                            lambda b: G * convolution.convolve(Z, W, b=b, stride=2, padding=1),
                            np.zeros((4, 4, 3))),
        make_gradient_check("gradient with respect to a tied b",
                            lambda: conv_backprop.tied_bias_gradient(G),
                            lambda b: G * convolution.convolve(Z, W, b=b, stride=2, padding=1),
                            np.zeros(4)),
    ),
}  # fmt: skip
