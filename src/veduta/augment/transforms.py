"""Random transforms of single images: crop, flips, rotation, perspective, color, blur and erasing.

Every transform is parameterized by uniform random numbers `u` of shape (n, k), one row per image.

Geometric transforms are matrices (n, 3, 3), so that several of them combine into one product and
each image is resampled once. They act on homogeneous coordinates (x, y, 1), where x and y are in
[-1, 1] between the outer edges of the image and y points downwards, and map coordinates in the view
to coordinates in the image.

Color transforms are matrices (n, 3, 4) that map (red, green, blue, mean gray value of the image) to
the new red, green and blue.

The result for an image never depends on the other images of the batch, not even by rounding.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from veduta.types import FloatArray, IntArray, PixelArray

MIN_CROP_AREA: Final = 0.35  # fraction of the image area, as in fastai; the maximum is 1
MAX_CROP_ASPECT: Final = 4 / 3  # width divided by height; the minimum is its inverse
MAX_ROTATION: Final = 10.0  # degrees, in either direction
MAX_TILT: Final = 0.2  # how far a corner may move inwards, as a fraction of half a side
MAX_COLOR_CHANGE: Final = 0.3  # of the brightness, contrast and saturation factors from 1
LUMA_WEIGHTS: Final = (0.299, 0.587, 0.114)  # red, green, blue in a gray value (ITU-R BT.601)

BLUR_PROBABILITY: Final = 0.5
MAX_BLUR_FRACTION: Final = 0.01  # standard deviation / image side; SimCLR: 2 of 224 pixels
MIN_VISIBLE_SIGMA: Final = 0.5  # pixels; smallest maximum, for small images
BLUR_TRUNCATION: Final = 3.0  # standard deviations after which the Gaussian is cut off

ERASING_PROBABILITY: Final = 0.5
MIN_ERASED_AREA, MAX_ERASED_AREA = 0.02, 0.4  # fraction of the image area
MIN_ERASED_ASPECT: Final = 0.3  # height divided by width; the maximum is its inverse

CORNERS: Final = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


def make_crops(u: FloatArray) -> FloatArray:
    """Return matrices of random crops that are resized to the image size; `u` is (n, 4).

    The area is uniform in [`MIN_CROP_AREA`, 1], and the logarithm of width / height is uniform
    between those of 3/4 and 4/3. Sides longer than those of the image are clipped to them.
    """
    area = MIN_CROP_AREA + (1 - MIN_CROP_AREA) * u[:, 0]
    aspect = apply_elementwise(math.exp, math.log(MAX_CROP_ASPECT) * (2 * u[:, 1] - 1))
    width, height = np.minimum(1, np.sqrt(area * aspect)), np.minimum(1, np.sqrt(area / aspect))
    matrices = _make_identities(len(u))
    matrices[:, 0, 0], matrices[:, 0, 2] = width, (1 - width) * (2 * u[:, 2] - 1)
    matrices[:, 1, 1], matrices[:, 1, 2] = height, (1 - height) * (2 * u[:, 3] - 1)
    return matrices


def make_flips(u: FloatArray) -> FloatArray:
    """Return matrices of horizontal flips with probability 1/2; `u` is (n, 1)."""
    matrices = _make_identities(len(u))
    matrices[:, 0, 0] = np.where(u[:, 0] < 0.5, -1.0, 1.0)
    return matrices


def make_vertical_flips(u: FloatArray) -> FloatArray:
    """Return matrices of vertical flips with probability 1/2; `u` is (n, 1)."""
    matrices = _make_identities(len(u))
    matrices[:, 1, 1] = np.where(u[:, 0] < 0.5, -1.0, 1.0)
    return matrices


def make_rotations(u: FloatArray) -> FloatArray:
    """Return matrices of counterclockwise rotations about the center; `u` is (n, 1).

    The angle is uniform in [-`MAX_ROTATION`, `MAX_ROTATION`] degrees.
    """
    angle = math.radians(MAX_ROTATION) * (2 * u[:, 0] - 1)
    cos, sin = apply_elementwise(math.cos, angle), apply_elementwise(math.sin, angle)
    matrices = _make_identities(len(u))
    matrices[:, 0, 0], matrices[:, 0, 1] = cos, -sin
    matrices[:, 1, 0], matrices[:, 1, 1] = sin, cos
    return matrices


def make_perspectives(u: FloatArray) -> FloatArray:
    """Return matrices of perspective transforms; `u` is (n, 8).

    Each corner of the view is mapped to a uniformly random point of a square at that corner of the
    image. The side of the square is `MAX_TILT` times half a side of the image.
    """
    corners = np.array(CORNERS)
    return solve_homographies(corners, corners * (1 - MAX_TILT * u.reshape(-1, 4, 2)))


def solve_homographies(source: FloatArray, targets: FloatArray) -> FloatArray:
    """Compute the matrices H (n, 3, 3) that map four `source` points (4, 2) to `targets` (n, 4, 2).

    H (x, y, 1) is (X, Y, 1) up to scale. With H[2, 2] = 1 these are eight linear equations in eight
    unknowns: h11 x + h12 y + h13 - X (h31 x + h32 y) = X, and the same for Y.
    """
    x, y = source[:, 0], source[:, 1]
    equations = np.zeros((len(targets), 8, 8))
    for axis in (0, 1):
        target = targets[..., axis]
        rows, columns = slice(4 * axis, 4 * axis + 4), slice(3 * axis, 3 * axis + 3)
        equations[:, rows, columns] = np.stack([x, y, np.ones(4)], axis=-1)
        equations[:, rows, 6], equations[:, rows, 7] = -target * x, -target * y
    right_side = np.concatenate([targets[..., 0], targets[..., 1]], axis=1)
    solution = np.linalg.solve(equations, right_side[..., None])[..., 0]
    return np.concatenate([solution, np.ones((len(targets), 1))], axis=1).reshape(-1, 3, 3)


def make_color_changes(u: FloatArray) -> FloatArray:
    """Return color matrices of random brightness, contrast and saturation; `u` is (n, 3).

    Each factor is uniform in [1 - `MAX_COLOR_CHANGE`, 1 + `MAX_COLOR_CHANGE`].
    """
    factors = 1 + MAX_COLOR_CHANGE * (2 * u - 1)
    return build_color_matrices(factors[:, 0], factors[:, 1], saturation=factors[:, 2])


def build_color_matrices(
    brightness: FloatArray, contrast: FloatArray, *, saturation: FloatArray
) -> FloatArray:
    """Build color matrices (n, 3, 4) from three factors (n,) each; a factor of 1 changes nothing.

    Brightness b multiplies colors, contrast c their distance from the mean gray value m of the
    image, and saturation s their distance from the gray value of the pixel:
    b (c (s x + (1 - s) gray(x)) + (1 - c) m).
    """
    gray = np.tile(np.array(LUMA_WEIGHTS), (3, 1))
    s = saturation[:, None, None]
    matrices = np.empty((len(brightness), 3, 4))
    matrices[:, :, :3] = (brightness * contrast)[:, None, None] * (s * np.eye(3) + (1 - s) * gray)
    matrices[:, :, 3] = (brightness * (1 - contrast))[:, None]
    return matrices


def make_blur_sigmas(u: FloatArray) -> FloatArray:
    """Return standard deviations (n,) of Gaussian blurs, relative to the maximum; `u` is (n, 2).

    They are uniform in (0, 1] with probability `BLUR_PROBABILITY`, otherwise 0 (no blur).

    Source: Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations,
    appendix A.
    """
    return np.where(u[:, 0] < BLUR_PROBABILITY, 1 - u[:, 1], 0.0)


def compute_max_sigma(size: int) -> float:
    """Return the maximum standard deviation of a blur in pixels, for images (size, size).

    >>> compute_max_sigma(32), compute_max_sigma(224)
    (0.5, 2.24)
    """
    return max(MIN_VISIBLE_SIGMA, MAX_BLUR_FRACTION * size)


def apply_blur(images: Tensor, sigmas: FloatArray) -> Tensor:
    """Convolve images (n, C, S, S) with Gaussians of standard deviations `sigmas` (n,) in pixels.

    Borders are padded by reflection without repeating the edge. Images with sigma 0 are unchanged.

    PyTorch's convolution may sum in a different order for a different batch size. Here each weight
    is one multiplication and one addition of whole images, so rounding never depends on the batch.
    """
    blurred = np.flatnonzero(sigmas)
    if not len(blurred):
        return images
    size = images.shape[-1]
    radius = min(math.ceil(BLUR_TRUNCATION * compute_max_sigma(size)), size - 1)
    kernels = compute_gaussian_weights(sigmas[blurred], radius)
    weights = torch.from_numpy(kernels.astype(np.float32))[..., None, None]
    index = torch.from_numpy(blurred)
    result = images[index]
    for axis, padding in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        padded, length = pad(result, padding, mode="reflect"), images.shape[axis]
        result = padded.narrow(axis, radius, length) * weights[:, 0, None]
        for step in range(1, radius + 1):
            before = padded.narrow(axis, radius - step, length)
            after = padded.narrow(axis, radius + step, length)
            result += (before + after).mul_(weights[:, step, None])
    return images.index_copy(0, index, result)


def compute_gaussian_weights(sigmas: FloatArray, radius: int) -> FloatArray:
    """Compute Gaussian weights (n, radius + 1) at the distances 0, ..., radius from the center.

    They are normalized so that the center plus twice the other weights is 1.

    >>> compute_gaussian_weights(np.array([1.0]), 1).round(4)
    array([[0.4519, 0.2741]])
    """
    distances = np.arange(radius + 1)
    exponents = -(distances**2) / (2 * sigmas[:, None] ** 2)
    raw = apply_elementwise(math.exp, exponents.ravel()).reshape(exponents.shape)
    totals = [math.fsum([*row, *row[1:]]) for row in raw]
    return np.asarray(raw / np.array(totals)[:, None])


def make_erasing_boxes(u: FloatArray) -> FloatArray:
    """Return boxes (n, 4) to erase: left, top, right, bottom in [0, 1]; `u` is (n, 5).

    With probability 1 - `ERASING_PROBABILITY` a box is empty. Otherwise its area and the logarithm
    of height / width are uniform. The paper redraws a box with a side longer than the image;
    here the side is clipped, so that each image needs the same number of random numbers.

    Source: Zhong et al. 2017, Random Erasing Data Augmentation.
    """
    area = MIN_ERASED_AREA + (MAX_ERASED_AREA - MIN_ERASED_AREA) * u[:, 1]
    aspect = apply_elementwise(math.exp, -math.log(MIN_ERASED_ASPECT) * (2 * u[:, 2] - 1))
    sides = np.minimum(1, np.sqrt(np.stack([area / aspect, area * aspect], axis=1)))
    sides[u[:, 0] >= ERASING_PROBABILITY] = 0
    start = (1 - sides) * u[:, 3:]
    return np.concatenate([start, start + sides], axis=1)


def erase_boxes(pixels: PixelArray, boxes: FloatArray) -> None:
    """Fill `boxes` (n, 4) of images (n, S, S, 3) with the mean color of the image, in place."""
    size = pixels.shape[1]
    edges = np.rint(boxes * size).astype(int)
    for image, (left, top, right, bottom) in zip(pixels, edges.tolist(), strict=True):
        if left < right and top < bottom:
            image[top:bottom, left:right] = np.rint(sum_channels(image[None])[0] / size**2)


def sum_channels(pixels: PixelArray) -> IntArray:
    """Sum each color channel of each image exactly, in integers, (n, 3)."""
    count, size = pixels.shape[:2]
    columns = pixels.reshape(count, size, -1).sum(axis=1, dtype=np.uint32)
    return np.asarray(columns.reshape(count, -1, 3).sum(axis=1, dtype=np.int64))


def apply_elementwise(function: Callable[[float], float], values: FloatArray) -> FloatArray:
    """Apply a function of the C library to one number at a time.

    NumPy's vectorized functions may round a number differently depending on its position, so that
    an image's view would depend on the batch.
    """
    return np.array([function(value) for value in values.tolist()])


def _make_identities(count: int) -> FloatArray:
    return np.tile(np.eye(3), (count, 1, 1))
