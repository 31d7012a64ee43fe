r"""Convolution, output sizes and standard kernels (report section 2, equations 28-30).

Shapes: images are (N, channels, H, W), kernels (maps, channels, k, k), feature maps
(N, maps, H_out, W_out). A bias is tied, (maps,), or untied, (maps, H_out, W_out).

By the minus signs in (28)-(30), a convolution rotates its kernel by 180 degrees. PyTorch's `conv2d`
computes a cross-correlation instead; its kernel is ROT180 of the kernel here.

Each standard kernel of image processing is (k, k). Edge detectors sum to 0, so that they map a
constant region to 0. The other kernels sum to 1, so that they keep its brightness.
"""

from typing import Literal

import numpy as np

from veduta.foundations.arrays import Array, Function, require


def sobel() -> Array:
    r"""Section 2: horizontal derivative, smoothed vertically with weights 1, 2, 1.

    The transposed kernel computes the vertical derivative.

    >>> sobel()
    array([[ 1.,  0., -1.],
           [ 2.,  0., -2.],
           [ 1.,  0., -1.]])
    """
    return np.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0])


def prewitt() -> Array:
    r"""Section 2: horizontal derivative, smoothed vertically with equal weights.

    >>> prewitt()[0]
    array([ 1.,  0., -1.])
    """
    return np.outer([1.0, 1.0, 1.0], [1.0, 0.0, -1.0])


def laplacian() -> Array:
    r"""Section 2: \partial^2 / \partial x^2 + \partial^2 / \partial y^2, edges of all directions.

    >>> laplacian()[1]
    array([ 1., -4.,  1.])
    """
    return np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def gabor(k: int = 9, *, wavelength: float = 4.0, degrees: float = 0.0) -> Array:
    r"""Section 2: e^{-(x'^2 + y'^2) / 2 s^2} \cos(2 \pi x' / \mathrm{wavelength}), minus its mean.

    Responds to stripes of one width and direction. x' is x rotated by `degrees`; s is half the
    wavelength.

    Args:
        k: kernel size, odd.
        wavelength: distance between stripes, in pixels.
        degrees: direction of the wave.

    >>> gabor(3, wavelength=2.0).round(2)[1]
    array([-0.55,  1.05, -0.55])
    """
    valid = k % 2 == 1 and wavelength > 0
    require(valid, "k must be odd and the wavelength positive", (k, wavelength))
    y, x = np.mgrid[:k, :k] - k // 2
    along = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))
    wave = np.exp(-2 * (x**2 + y**2) / wavelength**2) * np.cos(2 * np.pi * along / wavelength)
    return np.asarray(wave - wave.mean())


def blur(k: int = 3) -> Array:
    r"""Section 2: a kernel that averages k \times k pixels, which reduces noise.

    >>> float(blur(5)[0, 0])
    0.04
    """
    require(k >= 1, "k must be 1 or more", k)
    return np.full((k, k), 1 / k**2)


def sharpen() -> Array:
    r"""Section 2: a kernel that subtracts the Laplacian from the image, which enhances edges.

    >>> sharpen()[1]
    array([-1.,  5., -1.])
    """
    identity = np.zeros((3, 3))
    identity[1, 1] = 1
    return identity - laplacian()


def named_kernels() -> dict[str, Array]:
    """Return all kernels of this module by name.

    >>> list(named_kernels())
    ['Sobel', 'Prewitt', 'Laplacian', 'Gabor', 'blur', 'sharpen']
    """
    return {
        "Sobel": sobel(),
        "Prewitt": prewitt(),
        "Laplacian": laplacian(),
        "Gabor": gabor(),
        "blur": blur(5),
        "sharpen": sharpen(),
    }


Border = Literal["constant", "wrap", "reflect"]
"""Padding values: zeros, the opposite edge, or the image reflected at its edge pixels."""


def convolve_functions(f: Function, g: Function, *, x: Array, tau: Array) -> Array:
    r"""Equation 28: (f * g)(x) = \int_{-\infty}^{\infty} f(\tau) g(x - \tau) d\tau.

    Integrated by the trapezoidal rule; tau must cover the region where the integrand is not 0.

    Args:
        f: f, a vectorized function.
        g: g, a vectorized function.
        x: points at which the convolution is evaluated, (X,).
        tau: \tau, increasing integration points, (T,).

    >>> box = lambda t: (abs(t) <= 0.5) * 1.0
    >>> tau = np.linspace(-2, 2, 4001)
    >>> convolve_functions(box, box, x=np.array([0.0, 0.5, 1.5]), tau=tau).round(2)
    array([1. , 0.5, 0. ])
    """
    require(np.all(np.diff(tau) > 0), "tau must increase", tau)
    return np.asarray(np.trapezoid(f(tau) * g(x[:, None] - tau), tau, axis=-1))


def convolve_discrete(f: Array, g: Array, *, weights: Array | float = 1.0) -> Array:
    r"""Equation 29: (f * g)(x, y) = \sum_{i,j} w_{ij} f(\tau_i, \tau_j) g(x - \tau_i, y - \tau_j).

    Args:
        f: f, sampled at the integration points, (m, n), and 0 elsewhere.
        g: g, sampled on its support, (k, l), and 0 elsewhere.
        weights: w_{ij}, the quadrature weights, a number or (m, n).

    Returns:
        All positions where f and g overlap, (m + k - 1, n + l - 1).

    >>> convolve_discrete(np.array([[1.0, 2.0]]), np.array([[1.0, 10.0]]))
    array([[ 1., 12., 20.]])
    """
    require(f.ndim == g.ndim == 2, "f must be (m, n) and g (k, l)", f"{f.shape} and {g.shape}")
    require(np.shape(weights) in {(), f.shape}, f"weights must be a number or {f.shape}",
            np.shape(weights))  # fmt: skip
    (m, n), (k, l) = f.shape, g.shape  # noqa: E741
    total = np.zeros((m + k - 1, n + l - 1))
    for x, y in np.ndindex(k, l):
        total[x : x + m, y : y + n] += weights * f * g[x, y]
    return total


def output_size(width: int, k: int, *, padding: int = 0, stride: int = 1) -> int:
    r"""Size of a convolution: W_{out} = \left\lfloor \frac{W - k + 2p}{S} \right\rfloor + 1.

    The result is rounded down: if the stride does not divide the size, the last pixels are not
    covered.

    Args:
        width: W, the image size in pixels.
        k: k, the kernel size.
        padding: p, the number of pixels added on each side.
        stride: S, the step of the kernel.

    >>> output_size(50, 3), output_size(224, 7, padding=3, stride=2)
    (48, 112)
    """
    valid = k >= 1 and stride >= 1 and padding >= 0
    rule = "k and stride must be 1 or more, padding 0 or more"
    require(valid, rule, f"k={k}, stride={stride}, padding={padding}")
    size = (width - k + 2 * padding) // stride + 1
    rule = "the kernel must fit into the padded image"
    require(size >= 1, rule, f"kernel {k}, image {width} + 2 x {padding}")
    return size


def pad(images: Array, padding: int, border: Border = "constant") -> Array:
    r"""Section 2: images padded by `padding` pixels on all four sides, (N, channels, H', W').

    >>> pad(np.array([[[[1.0, 2.0, 3.0]] * 3]]), 1, "reflect")[0, 0, 1]
    array([2., 1., 2., 3., 2.])
    """
    require_border(images.shape[2:], padding, border)
    return np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode=border)


def require_border(size: tuple[int, ...], padding: int, border: str) -> None:
    """Raise ValueError unless images of this spatial size allow the padding and border."""
    limit = {"constant": padding, "wrap": min(size), "reflect": min(size) - 1}
    require(border in limit, f"border must be one of {', '.join(limit)}", border)
    rule = f"padding with border {border!r} must lie in 0..{max(limit[border], 0)}"
    require(0 <= padding <= limit[border], rule, padding)


def feature_map_size(
    images: Array, k: int, *, padding: int = 0, stride: int = 1
) -> tuple[int, int]:
    """Return (H_out, W_out) of the feature maps that a k x k kernel computes from the images."""
    require(images.ndim == 4, "images must be (N, channels, H, W)", images.shape)
    rows, columns = (output_size(n, k, padding=padding, stride=stride) for n in images.shape[2:])
    return rows, columns


def extract_patches(images: Array, k: int, *, stride: int = 1) -> Array:
    r"""Section 2: the pixels under the kernel at each position, also known as im2col.

    Returns:
        One flattened patch per column, (N, channels x k x k, H_out x W_out).

    >>> extract_patches(np.arange(9.0).reshape(1, 1, 3, 3), 2)[0, :, 0]
    array([0., 1., 3., 4.])
    """
    rows, columns = feature_map_size(images, k, stride=stride)
    windows = np.lib.stride_tricks.sliding_window_view(images, (k, k), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    windows = windows.transpose(0, 1, 4, 5, 2, 3)  # (N, channels, k, k, rows, columns)
    return windows.reshape(len(images), -1, rows * columns)


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

    The sum also runs over channels. It is computed as one matrix product over all positions.

    Args:
        a: \psi(z^l), images or feature maps, (N, channels, H, W).
        w: w^{l+1}, the kernels, (maps, channels, k, k).
        b: b^{l+1}, a tied bias (maps,) or an untied bias (maps, H_out, W_out).
        stride: S, the step of the kernel.
        padding: p, the number of pixels added on each side.
        border: values of the padding pixels.

    Returns:
        z^{l+1}, the feature maps, (N, maps, H_out, W_out).

    >>> image = np.eye(3)[None, None]
    >>> kernel = np.array([[[[0.0, 0.0], [0.0, 1.0]]]])
    >>> convolve(image, kernel, b=np.zeros(1))[0, 0]
    array([[1., 0.],
           [0., 1.]])
    """
    require_kernels(a, w)
    tied = w.shape[:1]
    untied = (len(w), *feature_map_size(a, w.shape[2], padding=padding, stride=stride))
    require(b.shape in {tied, untied}, f"b must be tied {tied} or untied {untied}", b.shape)
    patches = extract_patches(pad(a, padding, border), w.shape[2], stride=stride)
    z = (rot180(w).reshape(len(w), -1) @ patches).reshape(len(a), *untied)
    return z + (b if b.ndim == 3 else b[:, None, None])


def require_kernels(a: Array, w: Array) -> None:
    """Raise ValueError unless `w` holds square kernels for the channels of the images `a`."""
    valid = a.ndim == w.ndim == 4 and a.shape[1] == w.shape[1] and w.shape[2] == w.shape[3]
    rule = "a must be (N, channels, H, W) and w (maps, channels, k, k)"
    require(valid, rule, f"{a.shape} and {w.shape}")


def rot180(w: Array) -> Array:
    r"""Section 2.1: \mathrm{ROT180}(w)_{x,y} = w_{-x,-y}, the last two axes reversed.

    >>> rot180(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[4., 3.],
           [2., 1.]])
    """
    return w[..., ::-1, ::-1]


def parameter_count(maps: int, channels: int, k: int, *, biases: int = 1) -> int:
    r"""Section 2: \mathrm{maps} \times (k \times k \times \mathrm{channels} + \mathrm{biases}).

    Args:
        maps: number of feature maps.
        channels: number of input channels.
        k: kernel size.
        biases: biases per feature map: 1 if tied, H_out x W_out if untied, 0 for none.

    >>> parameter_count(7, 1, 3), parameter_count(7, 3, 3), parameter_count(7, 1, 3, biases=48 * 48)
    (70, 196, 16191)
    """
    valid = min(maps, channels, k) >= 1 and biases >= 0
    rule = "maps, channels and k must be 1 or more, biases 0 or more"
    require(valid, rule, (maps, channels, k, biases))
    return maps * (k * k * channels + biases)
