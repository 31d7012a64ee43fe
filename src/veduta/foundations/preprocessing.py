r"""Preprocessing (report section 4.5): one size, one scale.

Shapes: images are (N, channels, H, W). Pixels in 0..255 become numbers in [0, 1], then every
channel is normalised with fixed statistics: those of ImageNet, or of the training data.
"""

from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, require
from veduta.foundations.batch_norm import batch_statistics


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of each channel, for pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = ChannelStatistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def to_unit(pixels: np.ndarray) -> Array:
    r"""Section 4.5: x / 255.

    >>> to_unit(np.array([0, 51, 255], dtype=np.uint8))
    array([0. , 0.2, 1. ])
    """
    values = np.asarray(pixels, dtype=np.float64)
    require(np.all((values >= 0) & (values <= 255)), "pixels lie in 0..255", pixels)
    return values / 255


def channel_statistics(images: Array) -> ChannelStatistics:
    r"""Section 4.5: mean and deviation of each channel over all images and pixels.

    >>> channel_statistics(np.array([[[[0.0, 1.0]]]]))
    ChannelStatistics(mean=(0.5,), std=(0.5,))
    """
    mean, variance = batch_statistics(images)
    return ChannelStatistics(tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def normalise(images: Array, statistics: ChannelStatistics = IMAGENET) -> Array:
    r"""Section 4.5: (x - \mathrm{mean}_c) / \mathrm{std}_c.

    >>> normalise(np.array([[[[0.485]], [[0.456]], [[0.631]]]])).round(6).tolist()
    [[[[0.0]], [[0.0]], [[1.0]]]]
    """
    mean, std = (np.array(values)[:, None, None] for values in statistics)
    fits = images.ndim == 4 and images.shape[1] == len(mean) == len(std)
    require(fits, f"images are (N, {len(mean)}, H, W), a channel a mean", images.shape)
    require(np.all(std > 0), "deviations are positive", statistics.std)
    return np.asarray((images - mean) / std)


def resize(images: Array, height: int, *, width: int) -> Array:
    r"""Section 4.5: bilinear; pixel centres are mapped onto pixel centres.

    >>> resize(np.array([[[[0.0, 1.0]]]]), 1, width=4)
    array([[[[0.  , 0.25, 0.75, 1.  ]]]])
    """
    require(images.ndim == 4, "images are (N, channels, H, W)", images.shape)
    rows, columns = interpolation(images.shape[2], height), interpolation(images.shape[3], width)
    return np.asarray(rows @ images @ columns.T)


def interpolation(old: int, new: int) -> Array:
    r"""Weights of a linear interpolation along one axis, (new, old); each row sums to 1.

    >>> interpolation(2, 3)
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    require(old >= 1 and new >= 1, "sizes are 1 or more", (old, new))
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.asarray(np.clip(1 - np.abs(centres[:, None] - np.arange(old)), 0, 1))
