"""Augmentations that are matrices: of positions in the image, or of colours.

So whatever is asked for, an image is resampled once and its colours are mixed once. Positions are
(x, y, 1), from -1 to 1 between the outer edges, y downwards; a matrix (n, 3, 3) takes a place in
the view to its place in the image, up to scale. Colours are (red, green, blue, mean grey of the
image); a matrix (n, 3, 4) gives the new three.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALLEST_CROP: Final = 0.35  # share of the image's area, as in fastai; the largest is all of it
WIDEST_CROP: Final = 4 / 3  # width by height; the narrowest is its inverse
STEEPEST: Final = 10.0  # degrees of a rotation, either way
TILT: Final = 0.2  # how far a corner may move inwards, in halves of a side
COLOUR: Final = 0.3  # brightness, contrast and saturation are within this of 1
LUMA: Final = (0.299, 0.587, 0.114)  # red, green, blue in a grey value (ITU-R BT.601)


def crop(u: Array) -> Array:
    """A part of the image, brought back to its size: random area, shape and place.

    The area is uniform in [`SMALLEST_CROP`, 1], the logarithm of the width by the height uniform
    between those of 3/4 and 4/3; a side longer than the image's is cut to it.
    """
    area = SMALLEST_CROP + (1 - SMALLEST_CROP) * u[:, 0]
    shape = each(math.exp, math.log(WIDEST_CROP) * (2 * u[:, 1] - 1))
    width, height = np.minimum(1, np.sqrt(area * shape)), np.minimum(1, np.sqrt(area / shape))
    found = _identities(len(u))
    found[:, 0, 0], found[:, 0, 2] = width, (1 - width) * (2 * u[:, 2] - 1)
    found[:, 1, 1], found[:, 1, 2] = height, (1 - height) * (2 * u[:, 3] - 1)
    return found


def flip(u: Array) -> Array:
    """Left and right exchanged, every second time."""
    found = _identities(len(u))
    found[:, 0, 0] = np.where(u[:, 0] < 0.5, -1.0, 1.0)
    return found


def vertical_flip(u: Array) -> Array:
    """Top and bottom exchanged, every second time."""
    found = _identities(len(u))
    found[:, 1, 1] = np.where(u[:, 0] < 0.5, -1.0, 1.0)
    return found


def rotation(u: Array) -> Array:
    """Anticlockwise about the centre, by an angle uniform in +-`STEEPEST` degrees."""
    angle = math.radians(STEEPEST) * (2 * u[:, 0] - 1)
    cos, sin = each(math.cos, angle), each(math.sin, angle)
    found = _identities(len(u))
    found[:, 0, 0], found[:, 0, 1] = cos, -sin
    found[:, 1, 0], found[:, 1, 1] = sin, cos
    return found


def perspective(u: Array) -> Array:
    """As seen from aside: the view's corners are four places near those of the image.

    Each is uniform in a square that reaches inwards from its corner.
    """
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    return homography(corners, corners * (1 - TILT * u.reshape(-1, 4, 2)))


def homography(corners: Array, places: Array) -> Array:
    """The matrices H, (n, 3, 3), that take four `corners` (4, 2) to `places` (n, 4, 2).

    H (x, y, 1) is (X, Y, 1) up to scale; with H[2, 2] = 1 that is eight linear equations in eight
    unknowns: h11 x + h12 y + h13 - X (h31 x + h32 y) = X, and the same for Y.
    """
    x, y = corners[:, 0], corners[:, 1]
    equations = np.zeros((len(places), 8, 8))
    for half, to in enumerate((places[..., 0], places[..., 1])):
        rows, columns = slice(4 * half, 4 * half + 4), slice(3 * half, 3 * half + 3)
        equations[:, rows, columns] = np.stack([x, y, np.ones(4)], axis=-1)
        equations[:, rows, 6], equations[:, rows, 7] = -to * x, -to * y
    known = np.concatenate([places[..., 0], places[..., 1]], axis=1)
    found = np.linalg.solve(equations, known[..., None])[..., 0]
    return np.concatenate([found, np.ones((len(places), 1))], axis=1).reshape(-1, 3, 3)


def colour(u: Array) -> Array:
    """Brightness, contrast and saturation, each uniform within `COLOUR` of 1."""
    factors = 1 + COLOUR * (2 * u - 1)
    return mixing(factors[:, 0], factors[:, 1], saturation=factors[:, 2])


def mixing(brightness: Array, contrast: Array, *, saturation: Array) -> Array:
    """The matrices (n, 3, 4) of three factors (n,), each 1 where nothing changes.

    Brightness b multiplies; contrast c acts about the mean grey m of the image, saturation s about
    the grey of each pixel: b (c (s x + (1 - s) grey(x)) + (1 - c) m).
    """
    grey = np.tile(np.array(LUMA), (3, 1))
    s = saturation[:, None, None]
    found = np.empty((len(brightness), 3, 4))
    found[:, :, :3] = (brightness * contrast)[:, None, None] * (s * np.eye(3) + (1 - s) * grey)
    found[:, :, 3] = (brightness * (1 - contrast))[:, None]
    return found


def _identities(count: int) -> Array:
    return np.tile(np.eye(3), (count, 1, 1))


def each(function: Callable[[float], float], values: Array) -> Array:
    """NumPy's own may round the last of many numbers unlike the first: images would not be alone.

    The C library's are called one number at a time.
    """
    return np.array([function(value) for value in values.tolist()])
