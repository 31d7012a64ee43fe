"""Augmentation applied: many images at once, each as if it were alone.

All arithmetic is done image by image and number by number (no sum over what may be split), so the
bytes of an image's view depend neither on its company nor on the number of threads.
"""

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from veduta.augment.registry import AUGMENTATIONS, LUMA, Array
from veduta.runtime.streams import Keys, stream, uniforms

Pixels = NDArray[np.uint8]

CODE = 1  # grows when the view of an image that a request gives changes
AT_ONCE = 32 * 224 * 224  # pixels in floating point at a time: 80 MB with what is made of them


def augment(pixels: Pixels, keys: Keys, *, names: Collection[str], seed: int, view: int) -> Pixels:
    """One augmented view of each image, a pure function of (seed, view, image).

    Positions between pixels are interpolated linearly; what lies outside the image is its mirror.

    Args:
        pixels: uint8 (n, S, S, 3).
        keys: (n,), one 64-bit number an image, from its content.
        names: of `AUGMENTATIONS`; in any order.
        seed: of the run.
        view: which of the views.

    Returns:
        uint8 (n, S, S, 3).
    """
    out = np.empty_like(pixels)
    count = max(1, AT_ONCE // pixels.shape[1] ** 2)
    for start in range(0, len(pixels), count):
        part = slice(start, start + count)
        positions, colours = _matrices(keys[part], names, seed=seed, view=view)
        out[part] = transform(pixels[part], positions, colours)
    return out


def transform(pixels: Pixels, positions: Array | None, colours: Array | None) -> Pixels:
    """Images (n, S, S, 3) with their colours mixed, then looked up at other positions.

    The matrices are those of `Augmentation`; None changes nothing.
    """
    with torch.inference_mode():
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous()
        if colours is not None:
            planes = _mixed(planes, colours, _mean_grey(pixels))
        if positions is not None:
            grid = _grid(positions, planes.shape[-1])
            planes = grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
        found: Pixels = planes.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return found


def _matrices(
    keys: Keys, names: Collection[str], *, seed: int, view: int
) -> tuple[Array | None, Array | None]:
    """The matrices of positions and of colours, those of several augmentations as one product."""
    found: dict[str, Array] = {}
    for name in sorted(names, key=list(AUGMENTATIONS).index):
        one = AUGMENTATIONS[name]
        numbers = uniforms(stream(seed, "augment", name, view), keys, one.draws)
        matrix = one.matrix(numbers.astype(np.float64))
        found[one.of] = found[one.of] @ matrix if one.of in found else matrix
    return found.get("positions"), found.get("colours")


def _mean_grey(pixels: Pixels) -> Array:
    """The mean grey value of each image: whole numbers are added, so no order matters."""
    sums = pixels.sum(axis=(1, 2), dtype=np.int64)
    grey = LUMA[0] * sums[:, 0] + LUMA[1] * sums[:, 1] + LUMA[2] * sums[:, 2]
    return np.asarray(grey / (pixels.shape[1] * pixels.shape[2]))


def _mixed(planes: Tensor, colours: Array, mean: Array) -> Tensor:
    """Colours (n, 3, S, S) after their matrices, cut to what a pixel can hold."""
    weights = torch.from_numpy(colours.astype(np.float32))[..., None, None]
    shifts = torch.from_numpy((colours[:, :, 3] * mean[:, None]).astype(np.float32))
    red, green, blue = (planes[:, None, channel] for channel in range(3))
    mixed = red * weights[:, :, 0] + green * weights[:, :, 1] + blue * weights[:, :, 2]
    return (mixed + shifts[:, :, None, None]).clamp(0, 255)


def _grid(positions: Array, size: int) -> Tensor:
    """Where in the image each pixel of the view comes from: (n, S, S, 2), (x, y) from -1 to 1."""
    h = torch.from_numpy(positions.astype(np.float32))[..., None, None]
    ticks = torch.from_numpy(((2 * np.arange(size) + 1) / size - 1).astype(np.float32))
    x, y = ticks[None, None, :], ticks[None, :, None]
    scale = h[:, 2, 0] * x + h[:, 2, 1] * y + h[:, 2, 2]
    places = [(h[:, row, 0] * x + h[:, row, 1] * y + h[:, row, 2]) / scale for row in range(2)]
    return torch.stack(places, dim=-1)
