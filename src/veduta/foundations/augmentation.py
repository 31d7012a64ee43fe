r"""Data augmentation (report section 4.8): in every epoch a slightly different view of each image.

The data set does not grow: a fresh view takes the place of each image.
Shapes: (N, channels, H, W).
"""

import numpy as np

from veduta.foundations.arrays import Array, require
from veduta.foundations.preprocessing import resize


def flip_horizontally(images: Array) -> Array:
    """Section 4.8: left and right exchanged.

    >>> flip_horizontally(np.array([[[[1.0, 2.0]]]]))
    array([[[[2., 1.]]]])
    """
    return images[..., ::-1]


def flip_vertically(images: Array) -> Array:
    """Section 4.8: top and bottom exchanged.

    >>> flip_vertically(np.array([[[[1.0], [2.0]]]])).ravel()
    array([2., 1.])
    """
    return images[..., ::-1, :]


def rotate(images: Array, degrees: float) -> Array:
    """Section 4.8: anticlockwise about the centre, nearest pixel, 0 where the image does not reach.

    >>> rotate(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 90)
    array([[[[2., 4.],
             [1., 3.]]]])
    """
    height, width = images.shape[-2:]
    y, x = np.mgrid[:height, :width] - np.array([[[height - 1]], [[width - 1]]]) / 2
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rows = np.rint(cos * y + sin * x + (height - 1) / 2).astype(int)  # where each pixel comes from
    columns = np.rint(-sin * y + cos * x + (width - 1) / 2).astype(int)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return np.where(inside, images[..., rows % height, columns % width], 0.0)


def crop(images: Array, size: int, *, top: int, left: int) -> Array:
    """Section 4.8: a square part, brought back to the size of the whole.

    >>> crop(np.arange(4.0).reshape(1, 1, 2, 2), 1, top=1, left=0)
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    height, width = images.shape[-2:]
    fits = size >= 1 and 0 <= top <= height - size and 0 <= left <= width - size
    require(fits, f"a crop lies inside the {height} x {width} image", (size, top, left))
    return resize(images[..., top : top + size, left : left + size], height, width=width)


def augment(images: Array, *, rng: np.random.Generator, degrees: float = 10.0) -> Array:
    """Section 4.8: every image its own crop, small rotation and, half of the time, flip.

    >>> augment(np.ones((2, 3, 8, 8)), rng=np.random.default_rng(0)).shape
    (2, 3, 8, 8)
    """
    return np.concatenate([view(image[None], degrees, rng=rng) for image in images])


def view(image: Array, degrees: float, *, rng: np.random.Generator) -> Array:
    """One random view of one image, (1, channels, H, W)."""
    height, width = image.shape[-2:]
    size = rng.integers((3 * min(height, width) + 3) // 4, min(height, width), endpoint=True)
    top, left = (
        rng.integers(height - size, endpoint=True),
        rng.integers(width - size, endpoint=True),
    )
    image = crop(image, int(size), top=int(top), left=int(left))
    image = rotate(image, float(rng.uniform(-degrees, degrees)))
    return flip_horizontally(image) if rng.random() < 0.5 else image
