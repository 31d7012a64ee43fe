"""Images and reference implementations for tests of augmentations."""

import math

import numpy as np
import torch
from torch.nn.functional import grid_sample

from veduta.augment.pipeline import ParameterArrays
from veduta.augment.registry import AUGMENTATIONS
from veduta.augment.transforms import LUMA_WEIGHTS
from veduta.runtime.streams import derive_key, draw_uniforms, mix_bits

SIZE = 24


def make_smooth_images(count: int = 1, size: int = SIZE) -> np.ndarray:
    """Make images (count, size, size, 3) whose neighboring pixels are similar.

    Different implementations of interpolation agree on them.
    """
    waves = np.random.default_rng(0).uniform(0.5, 2.5, (count, 2, 3))
    y, x = np.mgrid[:size, :size] / size * math.pi
    phases = waves[:, 0, None, None] * y[..., None] + waves[:, 1, None, None] * x[..., None]
    return (127 + 90 * np.sin(phases)).astype(np.uint8)


def make_noise_images(count: int = 1, size: int = SIZE) -> np.ndarray:
    """Make random images (count, size, size, 3)."""
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), np.uint8)


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Convert images (n, S, S, C) to a tensor (n, C, S, S)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def compute_max_difference(pixels: np.ndarray, tensor: torch.Tensor) -> np.ndarray:
    """Compute the largest difference of images (n, S, S, C) and (n, C, S, S) per position."""
    other = tensor.permute(0, 2, 3, 1).numpy()
    return np.abs(pixels.astype(float) - other.astype(float)).max(axis=(0, 3))


def draw_many_parameters(name: str, count: int = 4000) -> np.ndarray:
    """Draw the parameters of an augmentation for many images."""
    keys = mix_bits(np.arange(count, dtype=np.uint64))
    numbers = draw_uniforms(derive_key(0, "a test", name), keys, AUGMENTATIONS[name].draws)
    return AUGMENTATIONS[name].make_parameters(numbers.astype(np.float64))


def apply_reference_transforms(pixels: np.ndarray, parameters: ParameterArrays) -> np.ndarray:
    """Apply color and geometric transforms without shortcuts and without in-place operations."""
    images = to_tensor(pixels).float().contiguous()
    if (matrices := parameters.get("color")) is not None:
        sums = pixels.sum(axis=(1, 2), dtype=np.int64)
        gray = np.array(LUMA_WEIGHTS) @ sums.T / pixels.shape[1] ** 2
        weights = torch.from_numpy(matrices.astype(np.float32))[..., None, None]
        shifts = torch.from_numpy((matrices[:, :, 3] * gray[:, None]).astype(np.float32))
        red, green, blue = (images[:, None, channel] for channel in range(3))
        images = red * weights[:, :, 0] + green * weights[:, :, 1] + blue * weights[:, :, 2]
        images = (images + shifts[:, :, None, None]).clamp(0, 255)
    if (matrices := parameters.get("geometry")) is not None:
        h = torch.from_numpy(matrices.astype(np.float32))[..., None, None]
        size = pixels.shape[1]
        centers = torch.from_numpy(((2 * np.arange(size) + 1) / size - 1).astype(np.float32))
        x, y = centers[None, None, :], centers[None, :, None]
        scaled = [h[:, row, 0] * x + h[:, row, 1] * y + h[:, row, 2] for row in range(3)]
        grid = torch.stack([scaled[0] / scaled[2], scaled[1] / scaled[2]], dim=-1)
        images = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return images.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
