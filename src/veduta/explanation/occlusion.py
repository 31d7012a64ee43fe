"""Occlusion: how far the probability of a class falls while a grey patch hides part of an image.

It knows nothing but what goes in and comes out (Zeiler and Fergus 2014, arXiv 1311.2901, section
4.2), and so checks methods that look inside. It asks as many times as the patch has places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veduta.errors import InputError

GREY = 128
BATCH = 32  # covered images at a time

Pixels = NDArray[np.uint8]
Array = NDArray[np.float32]
Probabilities = Callable[[Pixels], Array]
"""Probabilities (n, classes) of uint8 pixels (n, S, S, 3)."""


@dataclass(frozen=True, slots=True)
class Drop:
    """How far the probability of a class falls.

    Attributes:
        raw: (places, places), the probability of the whole image minus that behind a patch; below 0
            where hiding a place speaks for the class.
        map: (S, S), from 0 to 1: of each pixel, the mean over the patches that hide it, below 0 as
            0, and divided by the largest.
    """

    raw: Array
    map: Array


def occlusion(
    probabilities: Probabilities, pixels: Pixels, target: int, *, patch: int, stride: int
) -> Drop:
    """Slide a grey patch over an image.

    Args:
        probabilities: of the classifier.
        pixels: of the image, uint8 (S, S, 3).
        target: number of the class.
        patch: its side, in pixels.
        stride: from one place to the next, in pixels; the last place is always at the rim.

    Raises:
        InputError: the patch is larger than the image, or steps over pixels.
    """
    size = len(pixels)
    if not 1 <= stride <= patch <= size:
        raise InputError(
            f"a patch must be at most as large as the image, {size}, and its stride at most as "
            f"large as the patch; got {patch} and {stride}"
        )
    tops = places(size, patch, stride)
    spots = [(top, left) for top in tops for left in tops]
    whole = probabilities(pixels[None])[0, target]
    drops = np.empty(len(spots), np.float32)
    for start in range(0, len(spots), BATCH):
        some = spots[start : start + BATCH]
        covered = np.repeat(pixels[None], len(some), axis=0)
        for image, (top, left) in zip(covered, some, strict=True):
            image[top : top + patch, left : left + patch] = GREY
        drops[start : start + BATCH] = whole - probabilities(covered)[:, target]
    raw = drops.reshape(len(tops), len(tops))
    above = np.maximum(spread(raw, tops, patch, size), 0)
    largest = above.max()
    return Drop(raw, above / largest if largest > 0 else above)


def places(size: int, patch: int, stride: int) -> tuple[int, ...]:
    """Where the patch begins, along either side.

    >>> places(10, 4, 4)
    (0, 4, 6)
    """
    return tuple(dict.fromkeys([*range(0, size - patch + 1, stride), size - patch]))


def spread(raw: Array, tops: tuple[int, ...], patch: int, size: int) -> Array:
    """Of each pixel (size, size), the mean of `raw` over the patches that hide it."""
    begins = np.array(tops)
    pixel = np.arange(size)[:, None]
    hides = ((begins <= pixel) & (pixel < begins + patch)).astype(np.float32)  # (size, places)
    shares = hides / hides.sum(1, keepdims=True)
    found: Array = shares @ raw @ shares.T
    return found
