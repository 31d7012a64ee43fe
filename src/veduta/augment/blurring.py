"""Blurring: each image by a Gaussian of its own width, as if it were alone.

A convolution of PyTorch's may add in another order for another batch. Here every tap is one
multiplication and one addition of whole images, so each number is rounded in the same way in any
company.
"""

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from veduta.augment.matrices import Array, each

BLURRED: Final = 0.5  # share of the images
WIDEST_BLUR: Final = 0.01  # standard deviation, in sides of the image; SimCLR: 2 of 224 pixels
VISIBLE: Final = 0.5  # pixels; a small image's widest standard deviation, below it nothing is seen
REACH: Final = 3.0  # standard deviations after which the widest Gaussian is cut off


def deviations(u: Array) -> Array:
    """Standard deviations in units of the widest: uniform; 0 where an image stays sharp.

    Source: Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations,
    appendix A: every second image, by a width drawn uniformly.
    """
    return np.where(u[:, 0] < BLURRED, 1 - u[:, 1], 0.0)


def widest(size: int) -> float:
    """The widest standard deviation, in pixels, of images whose sides have `size`.

    >>> widest(32), widest(224)
    (0.5, 2.24)
    """
    return max(VISIBLE, WIDEST_BLUR * size)


def blur(planes: Tensor, sigmas: Array) -> Tensor:
    """Planes (n, C, S, S) convolved with Gaussians of `sigmas` (n,) pixels, first along the rows.

    What lies outside is the mirror image, its edge not doubled. Where sigma is 0 nothing changes.
    """
    chosen = np.flatnonzero(sigmas)
    if not len(chosen):
        return planes
    radius = min(math.ceil(REACH * widest(planes.shape[-1])), planes.shape[-1] - 1)
    weights = torch.from_numpy(taps(sigmas[chosen], radius).astype(np.float32))[..., None, None]
    index = torch.from_numpy(chosen)
    found = planes[index]
    for axis, border in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        wide, size = pad(found, border, mode="reflect"), planes.shape[axis]
        found = wide.narrow(axis, radius, size) * weights[:, 0, None]
        for step in range(1, radius + 1):
            both = wide.narrow(axis, radius - step, size) + wide.narrow(axis, radius + step, size)
            found += both.mul_(weights[:, step, None])
    return planes.index_copy(0, index, found)


def taps(sigmas: Array, radius: int) -> Array:
    """Weights (n, radius + 1) of a Gaussian's middle and of each side of it; all taps sum to 1.

    >>> taps(np.array([1.0]), 1).round(4)
    array([[0.4519, 0.2741]])
    """
    steps = np.arange(radius + 1)
    exponents = -(steps**2) / (2 * sigmas[:, None] ** 2)
    raw = each(math.exp, exponents.ravel()).reshape(exponents.shape)
    total = [math.fsum([*row, *row[1:]]) for row in raw]
    return np.asarray(raw / np.array(total)[:, None])
