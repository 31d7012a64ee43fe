"""Application of augmentations to batches, with results that do not depend on the batch.

All arithmetic is per image and elementwise, without sums whose order may vary, so the bytes of an
augmented image depend neither on the other images of the batch nor on the number of threads.
Shortcuts for some combinations of augmentations give the same bytes as the general case.
"""

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from veduta.augment.registry import AUGMENTATIONS, TransformKind, select_image_augmentations
from veduta.augment.transforms import (
    LUMA_WEIGHTS,
    apply_blur,
    compute_max_sigma,
    erase_boxes,
    sum_channels,
)
from veduta.runtime.streams import derive_key, draw_uniforms
from veduta.types import FloatArray, KeyArray, PixelArray

ParameterArrays = Mapping[TransformKind, FloatArray]
"""Parameters of the transforms of a batch, one row per image; see `Augmentation`."""

VERSION = 1  # to be incremented when the augmented images change
PIXELS_PER_BLOCK = 2**16  # pixels in floating point at the same time, to stay in the CPU cache


def augment_images(
    pixels: PixelArray, keys: KeyArray, *, names: Collection[str], seed: int, view: int
) -> PixelArray:
    """Return one augmented view of each image, a pure function of (seed, view, image).

    Images are interpolated bilinearly and continued by reflection at their edges.

    Args:
        pixels: uint8 (n, S, S, 3).
        keys: (n,) one 64-bit number per image, computed from its content.
        names: augmentations, in any order; those that mix images are ignored.
        seed: random seed of the run.
        view: number of the view.

    Returns:
        uint8 (n, S, S, 3).
    """
    parameters = draw_parameters(keys, names, seed=seed, view=view)
    augmented = np.empty_like(pixels)
    images_per_block = max(1, PIXELS_PER_BLOCK // pixels.shape[1] ** 2)
    for start in range(0, len(pixels), images_per_block):
        block = slice(start, start + images_per_block)
        block_parameters = {kind: rows[block] for kind, rows in parameters.items()}
        augmented[block] = apply_transforms(pixels[block], block_parameters)
    return augmented


def draw_parameters(
    keys: KeyArray, names: Collection[str], *, seed: int, view: int
) -> dict[TransformKind, FloatArray]:
    """Draw the random parameters of a view, with matrices of the same kind multiplied."""
    parameters: dict[TransformKind, FloatArray] = {}
    for name in select_image_augmentations(names):
        augmentation = AUGMENTATIONS[name]
        key = derive_key(seed, "augment", augmentation.stream_name or name, view)
        numbers = draw_uniforms(key, keys, augmentation.draws)
        rows = augmentation.make_parameters(numbers.astype(np.float64))
        kind = augmentation.kind
        parameters[kind] = parameters[kind] @ rows if kind in parameters else rows
    return parameters


def apply_transforms(pixels: PixelArray, parameters: ParameterArrays) -> PixelArray:
    """Change colors, resample, blur and erase a box of images (n, S, S, 3), as given."""
    matrices = parameters.get("geometry")
    if "color" in parameters or "blur" in parameters or not _are_flips(matrices):
        transformed = _transform_in_float(pixels, parameters)
    else:
        transformed = pixels.copy()
        if matrices is not None:
            _flip_in_place(transformed, matrices)
    if "erasing" in parameters:
        erase_boxes(transformed, parameters["erasing"])
    return transformed


def _are_flips(matrices: FloatArray | None) -> bool:
    """Return whether all matrices are flips or identities, which need no interpolation."""
    return matrices is None or bool((abs(matrices) == np.eye(3)).all())


def _flip_in_place(pixels: PixelArray, matrices: FloatArray) -> None:
    horizontal, vertical = matrices[:, 0, 0] < 0, matrices[:, 1, 1] < 0
    pixels[horizontal] = pixels[horizontal, :, ::-1]
    pixels[vertical] = pixels[vertical, ::-1]


def _transform_in_float(pixels: PixelArray, parameters: ParameterArrays) -> PixelArray:
    """Change colors, resample and blur in float32, and round to uint8."""
    with torch.inference_mode():
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        if "color" in parameters:
            mean_gray = _compute_mean_gray(pixels)
            images = _transform_colors(images.contiguous(), parameters["color"], mean_gray)
        if "geometry" in parameters:
            grid = _build_sampling_grid(parameters["geometry"], images.shape[-1])
            images = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        if "blur" in parameters:
            images = apply_blur(images, parameters["blur"] * compute_max_sigma(images.shape[-1]))
        rounded = images.round().numpy().astype(np.uint8)
    return np.stack([rounded[:, channel] for channel in range(3)], axis=-1)


def _compute_mean_gray(pixels: PixelArray) -> FloatArray:
    """Compute the mean gray value of each image, (n,), from exact integer sums."""
    red, green, blue = sum_channels(pixels).T
    gray = LUMA_WEIGHTS[0] * red + LUMA_WEIGHTS[1] * green + LUMA_WEIGHTS[2] * blue
    return np.asarray(gray / (pixels.shape[1] * pixels.shape[2]))


def _transform_colors(images: Tensor, matrices: FloatArray, mean_gray: FloatArray) -> Tensor:
    """Apply color matrices (n, 3, 4) to images (n, 3, S, S) and clip them to [0, 255]."""
    weights = torch.from_numpy(matrices.astype(np.float32))[..., None, None]
    shifts = torch.from_numpy((matrices[:, :, 3] * mean_gray[:, None]).astype(np.float32))
    transformed = images[:, None, 0] * weights[:, :, 0]
    for channel in (1, 2):
        transformed += images[:, None, channel] * weights[:, :, channel]
    return transformed.add_(shifts[:, :, None, None]).clamp_(0, 255)


def _build_sampling_grid(matrices: FloatArray, size: int) -> Tensor:
    """Compute the position in the image (x, y) in [-1, 1] of each pixel of the view, (n, S, S, 2).

    If all matrices only scale and shift, the terms that are 0 and the division by 1 are left out;
    this does not change the result.
    """
    h = torch.from_numpy(matrices.astype(np.float32))[..., None, None]
    centers = torch.from_numpy(((2 * np.arange(size) + 1) / size - 1).astype(np.float32))
    x, y = centers[None, None, :], centers[None, :, None]
    grid = torch.empty(len(matrices), size, size, 2)
    if not matrices[:, (0, 1), (1, 0)].any() and not matrices[:, 2, :2].any():
        grid[..., 0] = h[:, 0, 0] * x + h[:, 0, 2]
        grid[..., 1] = h[:, 1, 1] * y + h[:, 1, 2]
        return grid
    scale = h[:, 2, 0] * x + h[:, 2, 1] * y + h[:, 2, 2]
    for row in range(2):
        position = h[:, row, 0] * x + h[:, row, 1] * y + h[:, row, 2]
        torch.div(position, scale, out=grid[..., row])
    return grid
