r"""Named kernels of image processing (report section 2): what learned kernels are compared with.

Each is (k, k), for `convolution.convolve`, which reflects it. Edge detectors sum to 0, so that a
flat region gives 0; the others sum to 1, so that it keeps its brightness.
"""

import numpy as np

from veduta.foundations.arrays import Array, require


def sobel() -> Array:
    r"""Section 2: horizontal change, smoothed vertically by 1, 2, 1; transposed, the other way.

    >>> sobel()
    array([[ 1.,  0., -1.],
           [ 2.,  0., -2.],
           [ 1.,  0., -1.]])
    """
    return np.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0])


def prewitt() -> Array:
    r"""Section 2: horizontal change, smoothed vertically by a plain mean.

    >>> prewitt()[0]
    array([ 1.,  0., -1.])
    """
    return np.outer([1.0, 1.0, 1.0], [1.0, 0.0, -1.0])


def laplacian() -> Array:
    r"""Section 2: \partial^2 / \partial x^2 + \partial^2 / \partial y^2, edges of every direction.

    >>> laplacian()[1]
    array([ 1., -4.,  1.])
    """
    return np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def gabor(k: int = 9, *, wavelength: float = 4.0, degrees: float = 0.0) -> Array:
    r"""Section 2: e^{-(x'^2 + y'^2) / 2 s^2} \cos(2 \pi x' / \mathrm{wavelength}), less its mean.

    Stripes of one width and direction; x' is x turned by `degrees`, s half the wavelength.

    >>> gabor(3, wavelength=2.0).round(2)[1]
    array([-0.55,  1.05, -0.55])
    """
    require(k % 2 == 1 and wavelength > 0, "k is odd and the wavelength positive", (k, wavelength))
    y, x = np.mgrid[:k, :k] - k // 2
    along = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))
    wave = np.exp(-2 * (x**2 + y**2) / wavelength**2) * np.cos(2 * np.pi * along / wavelength)
    return np.asarray(wave - wave.mean())


def blur(k: int = 3) -> Array:
    r"""Section 2, against noise: the mean of k \times k pixels.

    >>> float(blur(5)[0, 0])
    0.04
    """
    require(k >= 1, "k is 1 or more", k)
    return np.full((k, k), 1 / k**2)


def sharpen() -> Array:
    r"""Section 2, enhancement: the image less its Laplacian.

    >>> sharpen()[1]
    array([-1.,  5., -1.])
    """
    identity = np.zeros((3, 3))
    identity[1, 1] = 1
    return identity - laplacian()


def named() -> dict[str, Array]:
    """Every named kernel, for tables and figures.

    >>> list(named())
    ['Sobel', 'Prewitt', 'Laplacian', 'Gabor', 'blur', 'sharpen']
    """
    kernels = (sobel(), prewitt(), laplacian(), gabor(), blur(5), sharpen())
    return dict(
        zip(("Sobel", "Prewitt", "Laplacian", "Gabor", "blur", "sharpen"), kernels, strict=True)
    )
