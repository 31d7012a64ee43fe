"""Occlusion: how much the probability of a class drops while a gray patch hides part of an image.

It uses nothing but the inputs and outputs of the classifier (Zeiler and Fergus 2014, arXiv
1311.2901, section 4.2), so it also checks methods that look inside. It needs one prediction per
position of the patch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from veduta.errors import InputError
from veduta.types import Float32Array, PixelArray

GRAY = 128
BATCH = 32  # occluded images per batch

Predictor = Callable[[PixelArray], Float32Array]
"""Returns probabilities (n, classes) of uint8 pixels (n, S, S, 3)."""


@dataclass(frozen=True, slots=True)
class OcclusionMap:
    """Drops of the probability of a class.

    Attributes:
        raw: (positions, positions), probability of the whole image minus that of the occluded
            image; negative where hiding the region raises the probability.
        map: (S, S), from 0 to 1: for each pixel the mean over the patches that hide it, with
            negative values set to 0, divided by the maximum.
    """

    raw: Float32Array
    map: Float32Array


def compute_occlusion(
    predict: Predictor, pixels: PixelArray, target: int, *, patch: int, stride: int
) -> OcclusionMap:
    """Slide a gray patch over an image, and measure the drop of the probability of a class.

    Args:
        predict: returns the probabilities of a batch of images.
        pixels: the image, uint8 (S, S, 3).
        target: class index.
        patch: side of the patch in pixels.
        stride: step of the patch in pixels; the last patch always touches the border.

    Raises:
        InputError: the patch is larger than the image, or the stride larger than the patch.
    """
    size = len(pixels)
    if not 1 <= stride <= patch <= size:
        raise InputError(
            f"a patch must be at most as large as the image, {size}, and its stride at most as "
            f"large as the patch; got {patch} and {stride}"
        )
    starts = list_patch_starts(size, patch, stride)
    corners = [(top, left) for top in starts for left in starts]
    probability = predict(pixels[None])[0, target]
    drops = np.empty(len(corners), np.float32)
    for first in range(0, len(corners), BATCH):
        batch_corners = corners[first : first + BATCH]
        occluded = np.repeat(pixels[None], len(batch_corners), axis=0)
        for image, (top, left) in zip(occluded, batch_corners, strict=True):
            image[top : top + patch, left : left + patch] = GRAY
        drops[first : first + BATCH] = probability - predict(occluded)[:, target]
    raw = drops.reshape(len(starts), len(starts))
    positive = np.maximum(average_over_patches(raw, starts, patch, size), 0)
    maximum = positive.max()
    return OcclusionMap(raw, positive / maximum if maximum > 0 else positive)


def list_patch_starts(size: int, patch: int, stride: int) -> tuple[int, ...]:
    """Return the first row (or column) of each position of the patch.

    >>> list_patch_starts(10, 4, 4)
    (0, 4, 6)
    """
    return tuple(dict.fromkeys([*range(0, size - patch + 1, stride), size - patch]))


def average_over_patches(
    raw: Float32Array, starts: tuple[int, ...], patch: int, size: int
) -> Float32Array:
    """Return (size, size): for each pixel the mean of `raw` over the patches that hide it."""
    first = np.array(starts)
    pixel = np.arange(size)[:, None]
    hides = ((first <= pixel) & (pixel < first + patch)).astype(np.float32)  # (size, positions)
    weights = hides / hides.sum(1, keepdims=True)
    average: Float32Array = weights @ raw @ weights.T
    return average
