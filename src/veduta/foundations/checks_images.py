"""Checks of section 2: convolution, pooling, and the way back through them."""

import numpy as np

from veduta.foundations import activations, conv_backprop, convolution, pooling
from veduta.foundations.arrays import Array
from veduta.foundations.convolution import Border
from veduta.foundations.oracles import Check, Pair, differences, draw

Z, W = draw(2, 3, 7, 6), draw(4, 3, 3, 3, seed=1)  # images and kernels
G = draw(2, 4, 4, 3, seed=2)  # the error of the feature maps, at stride 2 and padding 1
P = draw(2, 3, 3, 2, seed=3)  # the error of what is pooled, at p = 3 and stride 2
BORDERS: tuple[Border, ...] = ("constant", "wrap", "reflect")


def cost(z: Array, w: Array, border: Border = "constant") -> Array:
    """A cost behind (30): what convolving tanh(z) gives, weighted by G."""
    a, b = activations.tanh(z), np.zeros(4)
    return G * convolution.convolve(a, w, b=b, stride=2, padding=1, border=border)


def hidden_error(border: Border = "constant") -> Array:
    """(34) of that cost."""
    slope = activations.tanh_derivative(Z)
    return conv_backprop.hidden_error(G, W, slope=slope, stride=2, padding=1, border=border)


def hidden_error_check(border: Border) -> Check:
    """(34) with one kind of border."""
    claim = f"delta, border {border},"
    return differences(claim, lambda: hidden_error(border), lambda z: cost(z, W, border), Z)


def kernel_gradient_check(border: Border) -> Check:
    """(35) with one kind of border."""

    def computed() -> Array:
        a = activations.tanh(Z)
        return conv_backprop.kernel_gradient(G, a, k=3, stride=2, padding=1, border=border)

    return differences(
        f"gradient by w, border {border},", computed, lambda w: cost(Z, w, border), W
    )


def gaussians() -> Pair:
    """(28): two normal densities of variance 1 give one of variance 2."""

    def density(t: Array) -> Array:
        return np.asarray(np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi))

    x, tau = np.linspace(-3, 3, 7), np.linspace(-12, 12, 2001)
    return (
        convolution.convolve_functions(density, density, x=x, tau=tau),
        np.exp(-(x**2) / 4) / np.sqrt(4 * np.pi),
    )


def spectrum() -> Pair:
    """(29) against the product of Fourier transforms."""
    f, g, weights = draw(6, 5), draw(3, 3, seed=1), draw(6, 5, seed=2)
    product = np.fft.rfft2(weights * f, (8, 7)) * np.fft.rfft2(g, (8, 7))
    return convolution.convolve_discrete(f, g, weights=weights), np.fft.irfft2(product, (8, 7))


def convolved_by_sums() -> Pair:
    """(30) against its sums, index by index; x and y start where x - a and y - b are inside."""
    b = draw(4, 5, 4, seed=3)
    sums = np.zeros((2, 4, 5, 4))
    for i, m, x, y, c, row, column in np.ndindex(2, 4, 5, 4, 3, 3, 3):
        sums[i, m, x, y] += W[m, c, row, column] * Z[i, c, x + 2 - row, y + 2 - column]
    return convolution.convolve(Z, W, b=b), sums + b


def sizes(stride: int, k: int, padding: int) -> Pair:
    """A size formula against the positions, counted one by one, for images of 5 to 20 pixels."""
    widths = range(5, 21)
    counted = [len(range(0, w + 2 * padding - k + 1, stride)) for w in widths]
    if padding:
        formula = [convolution.output_size(w, k, padding=padding, stride=stride) for w in widths]
    else:
        formula = [pooling.output_size(w, k, stride=stride) for w in widths]
    return np.array(formula), np.array(counted)


def pooled_by_loops(kind: str) -> Pair:
    """(31) against its regions, one by one, overlapping at stride 2."""
    found = np.zeros((2, 3, 3, 2))
    for i, m, x, y in np.ndindex(found.shape):
        region = Z[i, m, 2 * x : 2 * x + 3, 2 * y : 2 * y + 3].ravel().tolist()
        found[i, m, x, y] = max(region) if kind == "max" else sum(v * v for v in region) ** 0.5
    pool = pooling.max_pool if kind == "max" else pooling.l2_pool
    return pool(Z, 3, stride=2), found


def sums_and_convolution() -> Pair:
    """(33) against (34), on one image of one channel."""
    z, w, delta = draw(6, 5), draw(3, 3, seed=1), draw(4, 3, seed=2)
    slope = activations.tanh_derivative(z)
    lifted = [array[None, None] for array in (delta, w, slope)]
    return (
        conv_backprop.hidden_error_by_sums(delta, w, slope=slope),
        conv_backprop.hidden_error(lifted[0], lifted[1], slope=lifted[2])[0, 0],
    )


def by_definition() -> Pair:
    """(32) against (34)."""
    numeric = conv_backprop.error_by_definition(lambda z: float(cost(z, W).sum()), Z)
    return numeric, hidden_error()


CHECKS: dict[str, tuple[Check, ...]] = {
    "28": (Check("two normal densities", gaussians),),
    "29": (Check("product of Fourier transforms", spectrum),),
    "S1": (Check("positions counted", lambda: sizes(3, 5, 2)),),
    "30": (Check("summed index by index", convolved_by_sums),),
    "31a": (
        Check("regions one by one", lambda: pooled_by_loops("max")),
        differences("derivative", lambda: pooling.max_pool_backward(P, Z, p=3, stride=2),
                    lambda z: P * pooling.max_pool(z, 3, stride=2), Z),
    ),
    "31b": (
        Check("regions one by one", lambda: pooled_by_loops("l2")),
        differences("derivative", lambda: pooling.l2_pool_backward(P, Z, p=3, stride=2),
                    lambda z: P * pooling.l2_pool(z, 3, stride=2), Z),
    ),
    "S2": (Check("positions counted", lambda: sizes(2, 3, 0)),),
    "32": (Check("equals (34)", by_definition, 1e-6),),
    "33": (Check("equals (34)", sums_and_convolution),),
    "34": tuple(hidden_error_check(border) for border in BORDERS),
    "35": tuple(kernel_gradient_check(border) for border in BORDERS),
    "36": (
        differences("gradient by an untied b", lambda: conv_backprop.bias_gradient(G),
                    lambda b: G * convolution.convolve(Z, W, b=b, stride=2, padding=1),
                    np.zeros((4, 4, 3))),
        differences("gradient by a tied b", lambda: conv_backprop.tied_bias_gradient(G),
                    lambda b: G * convolution.convolve(Z, W, b=b, stride=2, padding=1),
                    np.zeros(4)),
    ),
}  # fmt: skip
