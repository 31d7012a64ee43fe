r"""Preprocessing and data augmentation of images (report sections 4.5 and 4.8).

Shapes: images are (N, channels, H, W). Preprocessing scales pixels from 0..255 to [0, 1], resizes
the images to one size, and normalizes every channel with fixed statistics: those of ImageNet or of
the training data. Augmentation replaces each image by a randomly transformed copy in every epoch;
the number of images stays the same.
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


def scale_to_unit(pixels: np.ndarray) -> Array:
    r"""Section 4.5: x / 255, for pixels in 0..255 in an array of any shape.

    >>> scale_to_unit(np.array([0, 51, 255], dtype=np.uint8))
    array([0. , 0.2, 1. ])
    """
    values = np.asarray(pixels, dtype=np.float64)
    require(np.all((values >= 0) & (values <= 255)), "pixels must lie in 0..255", pixels)
    return values / 255


def channel_statistics(images: Array) -> ChannelStatistics:
    r"""Section 4.5: mean and standard deviation of each channel over all images and pixels.

    >>> channel_statistics(np.array([[[[0.0, 1.0]]]]))
    ChannelStatistics(mean=(0.5,), std=(0.5,))
    """
    mean, variance = batch_statistics(images)
    return ChannelStatistics(tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def normalize(images: Array, statistics: ChannelStatistics = IMAGENET) -> Array:
    r"""Section 4.5: (x - \mathrm{mean}_c) / \mathrm{std}_c for each channel c.

    >>> normalize(np.array([[[[0.485]], [[0.456]], [[0.631]]]])).round(6).tolist()
    [[[[0.0]], [[0.0]], [[1.0]]]]
    """
    mean, std = (np.array(values)[:, None, None] for values in statistics)
    valid = images.ndim == 4 and images.shape[1] == len(mean) == len(std)
    require(valid, f"images must be (N, {len(mean)}, H, W), one channel per mean", images.shape)
    require(np.all(std > 0), "standard deviations must be positive", statistics.std)
    return np.asarray((images - mean) / std)


def resize(images: Array, height: int, *, width: int) -> Array:
    r"""Section 4.5: bilinear interpolation with aligned image borders (half-pixel centers).

    Returns:
        The resized images, (N, channels, height, width).

    >>> resize(np.array([[[[0.0, 1.0]]]]), 1, width=4)
    array([[[[0.  , 0.25, 0.75, 1.  ]]]])
    """
    require(images.ndim == 4, "images must be (N, channels, H, W)", images.shape)
    rows = interpolation_weights(images.shape[2], height)
    columns = interpolation_weights(images.shape[3], width)
    return np.asarray(rows @ images @ columns.T)


def interpolation_weights(old: int, new: int) -> Array:
    r"""Return the weights of linear interpolation along one axis, (new, old); each row sums to 1.

    >>> interpolation_weights(2, 3)
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    require(old >= 1 and new >= 1, "sizes must be 1 or more", (old, new))
    centers = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.asarray(np.clip(1 - np.abs(centers[:, None] - np.arange(old)), 0, 1))


def flip_horizontally(images: Array) -> Array:
    """Section 4.8: images flipped left to right.

    >>> flip_horizontally(np.array([[[[1.0, 2.0]]]]))
    array([[[[2., 1.]]]])
    """
    return images[..., ::-1]


def flip_vertically(images: Array) -> Array:
    """Section 4.8: images flipped upside down.

    >>> flip_vertically(np.array([[[[1.0], [2.0]]]])).ravel()
    array([2., 1.])
    """
    return images[..., ::-1, :]


def rotate(images: Array, degrees: float) -> Array:
    """Section 4.8: images rotated counterclockwise about the center.

    Interpolation is nearest-neighbor; pixels from outside the image are 0.

    >>> rotate(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 90)
    array([[[[2., 4.],
             [1., 3.]]]])
    """
    height, width = images.shape[-2:]
    y, x = np.mgrid[:height, :width] - np.array([[[height - 1]], [[width - 1]]]) / 2
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rows = np.rint(cos * y + sin * x + (height - 1) / 2).astype(int)  # source row of each pixel
    columns = np.rint(-sin * y + cos * x + (width - 1) / 2).astype(int)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return np.where(inside, images[..., rows % height, columns % width], 0.0)


def crop(images: Array, size: int, *, top: int, left: int) -> Array:
    """Section 4.8: a square region of each image, resized to the size of the image.

    >>> crop(np.arange(4.0).reshape(1, 1, 2, 2), 1, top=1, left=0)
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    height, width = images.shape[-2:]
    valid = size >= 1 and 0 <= top <= height - size and 0 <= left <= width - size
    rule = f"a crop must lie inside the {height} x {width} image"
    require(valid, rule, (size, top, left))
    return resize(images[..., top : top + size, left : left + size], height, width=width)


def augment(images: Array, *, rng: np.random.Generator, degrees: float = 10.0) -> Array:
    """Section 4.8: each image with its own random crop, rotation and horizontal flip.

    Args:
        images: images of one epoch, (N, channels, H, W).
        rng: random generator.
        degrees: maximum rotation angle in either direction.

    Returns:
        Transformed images, (N, channels, H, W).

    >>> augment(np.ones((2, 3, 8, 8)), rng=np.random.default_rng(0)).shape
    (2, 3, 8, 8)
    """
    return np.concatenate([augment_image(image[None], degrees, rng=rng) for image in images])


def augment_image(image: Array, degrees: float, *, rng: np.random.Generator) -> Array:
    """Apply a random crop, rotation and horizontal flip to one image, (1, channels, H, W).

    The side of the crop is at least 3/4 of the shorter side of the image, and the probability of a
    flip is 1/2.
    """
    height, width = image.shape[-2:]
    size = rng.integers((3 * min(height, width) + 3) // 4, min(height, width), endpoint=True)
    top, left = (
        rng.integers(height - size, endpoint=True),
        rng.integers(width - size, endpoint=True),
    )
    image = crop(image, int(size), top=int(top), left=int(left))
    image = rotate(image, float(rng.uniform(-degrees, degrees)))
    return flip_horizontally(image) if rng.random() < 0.5 else image
