"""Erasing: a part of the image is hidden, so that no single part may decide.

Source: Zhong et al. 2017, Random Erasing Data Augmentation: every second image; the area uniform
between 2 and 40 % of the image's, height by width between 0.3 and its inverse.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veduta.augment.matrices import Array, each

ERASED: Final = 0.5  # share of the images
SMALLEST, LARGEST = 0.02, 0.4  # shares of the area
FLATTEST: Final = 0.3  # height by width; the steepest is its inverse


def boxes(u: Array) -> Array:
    """Rectangles (n, 4): left, top, right, bottom, from 0 to 1; of no area where nothing is erased.

    The logarithm of height by width is uniform. Where the paper draws again because a side is
    longer than the image's, it is cut here: each image needs as many random numbers as any other.
    """
    area = SMALLEST + (LARGEST - SMALLEST) * u[:, 1]
    shape = each(math.exp, -math.log(FLATTEST) * (2 * u[:, 2] - 1))
    sides = np.minimum(1, np.sqrt(np.stack([area / shape, area * shape], axis=1)))
    sides[u[:, 0] >= ERASED] = 0
    start = (1 - sides) * u[:, 3:]
    return np.concatenate([start, start + sides], axis=1)


def erase(pixels: NDArray[np.uint8], places: Array) -> None:
    """Fill `places` (n, 4), as `boxes` gives them, of images (n, S, S, 3) with their mean colour.

    The images are changed where they are.
    """
    size = pixels.shape[1]
    edges = np.rint(places * size).astype(int)
    for image, (left, top, right, bottom) in zip(pixels, edges.tolist(), strict=True):
        if left < right and top < bottom:
            image[top:bottom, left:right] = np.rint(sums(image[None])[0] / size**2)


def sums(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The sum of each colour of each image, (n, 3): of whole numbers, so no order matters."""
    count, size = pixels.shape[:2]
    columns = pixels.reshape(count, size, -1).sum(axis=1, dtype=np.uint32)
    return np.asarray(columns.reshape(count, -1, 3).sum(axis=1, dtype=np.int64))
