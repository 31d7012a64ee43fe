r"""Convolution (report section 2, equations 28-30, and the size of what comes out).

Shapes: images are (N, channels, H, W), kernels (maps, channels, k, k), feature maps
(N, maps, H_out, W_out). A bias is tied, (maps,), or untied, (maps, H_out, W_out). A convolution
reflects its kernel, by the minus signs of (28)-(30); PyTorch's `conv2d` does not (it correlates),
so that its kernel is ROT180 of the one here.
"""

from typing import Literal

import numpy as np

from veduta.foundations.arrays import Array, Function, require

Border = Literal["constant", "wrap", "reflect"]
"""What lies beyond the edge: zeros, the opposite edge, or the image mirrored at its edge pixels."""


def convolve_functions(f: Function, g: Function, *, x: Array, tau: Array) -> Array:
    r"""Equation 28: (f * g)(x) = \int_{-\infty}^{\infty} f(\tau) g(x - \tau) d\tau.

    By the trapezoidal rule, so tau must cover wherever the product does not vanish.

    Args:
        f: f, a function of an array.
        g: g, likewise.
        x: where the convolution is wanted, (X,).
        tau: \tau, increasing points to integrate over, (T,).

    >>> box = lambda t: (abs(t) <= 0.5) * 1.0
    >>> tau = np.linspace(-2, 2, 4001)
    >>> convolve_functions(box, box, x=np.array([0.0, 0.5, 1.5]), tau=tau).round(2)
    array([1. , 0.5, 0. ])
    """
    require(np.all(np.diff(tau) > 0), "tau increases", tau)
    return np.asarray(np.trapezoid(f(tau) * g(x[:, None] - tau), tau, axis=-1))


def convolve_discrete(f: Array, g: Array, *, weights: Array | float = 1.0) -> Array:
    r"""Equation 29: (f * g)(x, y) = \sum_{i,j} w_{ij} f(\tau_i, \tau_j) g(x - \tau_i, y - \tau_j).

    Args:
        f: f, at the points of the integral, (m, n); 0 elsewhere.
        g: g, at its support, (k, l); 0 elsewhere.
        weights: w_{ij}, how much each point of f counts in the integral.

    Returns:
        Every place where the two overlap, (m + k - 1, n + l - 1).

    >>> convolve_discrete(np.array([[1.0, 2.0]]), np.array([[1.0, 10.0]]))
    array([[ 1., 12., 20.]])
    """
    require(f.ndim == g.ndim == 2, "f is (m, n), g (k, l)", f"{f.shape} and {g.shape}")
    require(np.shape(weights) in {(), f.shape}, f"weights are a number or {f.shape}",
            np.shape(weights))  # fmt: skip
    (m, n), (k, l) = f.shape, g.shape  # noqa: E741
    total = np.zeros((m + k - 1, n + l - 1))
    for x, y in np.ndindex(k, l):
        total[x : x + m, y : y + n] += weights * f * g[x, y]
    return total


def output_size(width: int, k: int, *, padding: int = 0, stride: int = 1) -> int:
    r"""Size of a convolution: W_{out} = \left\lfloor \frac{W - k + 2p}{S} \right\rfloor + 1.

    Where the stride does not divide, the last pixels are not reached: hence the floor.

    Args:
        width: W, of the image.
        k: k, of the kernel.
        padding: p, pixels added on each side.
        stride: S, how far the kernel moves.

    >>> output_size(50, 3), output_size(224, 7, padding=3, stride=2)
    (48, 112)
    """
    require(k >= 1 and stride >= 1 and padding >= 0, "k and stride are 1 or more, padding 0",
            f"k={k}, stride={stride}, padding={padding}")  # fmt: skip
    size = (width - k + 2 * padding) // stride + 1
    require(size >= 1, "the kernel fits into the padded image",
            f"kernel {k}, image {width} + 2 x {padding}")  # fmt: skip
    return size


def pad(images: Array, padding: int, border: Border = "constant") -> Array:
    r"""Section 2: zeros, the opposite edge or the mirrored image around every channel.

    >>> pad(np.array([[[[1.0, 2.0, 3.0]] * 3]]), 1, "reflect")[0, 0, 1]
    array([2., 1., 2., 3., 2.])
    """
    require_border(images.shape[2:], padding, border)
    return np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode=border)


def require_border(size: tuple[int, ...], padding: int, border: str) -> None:
    """Raise ValueError unless an image of this size can be padded so."""
    limit = {"constant": padding, "wrap": min(size), "reflect": min(size) - 1}
    require(border in limit, f"border is one of {', '.join(limit)}", border)
    rule = f"padding of border {border!r} lies in 0..{max(limit[border], 0)}"
    require(0 <= padding <= limit[border], rule, padding)


def map_size(images: Array, k: int, *, padding: int = 0, stride: int = 1) -> tuple[int, int]:
    """H_out and W_out of the feature maps that a k x k kernel makes of these images."""
    require(images.ndim == 4, "images are (N, channels, H, W)", images.shape)
    rows, columns = (output_size(n, k, padding=padding, stride=stride) for n in images.shape[2:])
    return rows, columns


def patches(images: Array, k: int, *, stride: int = 1) -> Array:
    r"""Section 2, what each kernel position sees: (N, channels x k x k, H_out x W_out).

    >>> patches(np.arange(9.0).reshape(1, 1, 3, 3), 2)[0, :, 0]
    array([0., 1., 3., 4.])
    """
    rows, columns = map_size(images, k, stride=stride)
    seen = np.lib.stride_tricks.sliding_window_view(images, (k, k), axis=(2, 3))
    seen = seen[:, :, ::stride, ::stride].transpose(0, 1, 4, 5, 2, 3)  # (N, C, k, k, rows, columns)
    return seen.reshape(len(images), -1, rows * columns)


def convolve(
    a: Array,
    w: Array,
    *,
    b: Array,
    stride: int = 1,
    padding: int = 0,
    border: Border = "constant",
) -> Array:
    r"""Equation 30: z_{xy}^{l+1} = \sum_{ab} w_{ab}^{l+1} \psi(z_{x-a,y-b}^l) + b_{xy}^{l+1}.

    Summed over channels too; one matrix product over all positions.

    Args:
        a: \psi(z^l), images or feature maps, (N, channels, H, W).
        w: w^{l+1}, kernels, (maps, channels, k, k).
        b: b^{l+1}, tied (maps,) or untied (maps, H_out, W_out).
        stride: S, how far the kernel moves.
        padding: p, pixels added on each side.
        border: what those pixels hold.

    Returns:
        z^{l+1}, feature maps, (N, maps, H_out, W_out).

    >>> image = np.eye(3)[None, None]
    >>> kernel = np.array([[[[0.0, 0.0], [0.0, 1.0]]]])
    >>> convolve(image, kernel, b=np.zeros(1))[0, 0]
    array([[1., 0.],
           [0., 1.]])
    """
    require_kernels(a, w)
    tied = w.shape[:1]
    untied = (len(w), *map_size(a, w.shape[2], padding=padding, stride=stride))
    require(b.shape in {tied, untied}, f"b is tied {tied} or untied {untied}", b.shape)
    seen = patches(pad(a, padding, border), w.shape[2], stride=stride)
    z = (rot180(w).reshape(len(w), -1) @ seen).reshape(len(a), *untied)
    return z + (b if b.ndim == 3 else b[:, None, None])


def require_kernels(a: Array, w: Array) -> None:
    """Raise ValueError unless `w` are square kernels for the channels of the images `a`."""
    fits = a.ndim == w.ndim == 4 and a.shape[1] == w.shape[1] and w.shape[2] == w.shape[3]
    require(fits, "a is (N, channels, H, W), w (maps, channels, k, k)", f"{a.shape} and {w.shape}")


def rot180(w: Array) -> Array:
    r"""Section 2.1: \mathrm{ROT180}(w)_{x,y} = w_{-x,-y}, both axes reversed.

    >>> rot180(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[4., 3.],
           [2., 1.]])
    """
    return w[..., ::-1, ::-1]


def parameter_count(maps: int, channels: int, k: int, *, biases: int = 1) -> int:
    r"""Section 2: \mathrm{maps} \times (k \times k \times \mathrm{channels} + \mathrm{biases}).

    `biases` is 1 a map where tied, H_out x W_out where untied, 0 without.

    >>> parameter_count(7, 1, 3), parameter_count(7, 3, 3), parameter_count(7, 1, 3, biases=48 * 48)
    (70, 196, 16191)
    """
    require(min(maps, channels, k) >= 1 and biases >= 0, "maps, channels and k are 1 or more",
            (maps, channels, k, biases))  # fmt: skip
    return maps * (k * k * channels + biases)
