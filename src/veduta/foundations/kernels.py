r"""Standard kernels of image processing (report section 2), for comparison with learned kernels.

Each kernel is (k, k) and meant for `convolution.convolve`, which rotates it by 180 degrees. Edge
detectors sum to 0, so that they map a constant region to 0. The other kernels sum to 1, so that
they keep its brightness.
"""

import numpy as np

from veduta.foundations.arrays import Array, require


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
