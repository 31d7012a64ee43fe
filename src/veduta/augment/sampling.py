"""Augmentation applied: many images at once, each as if it were alone.

All arithmetic is done image by image and number by number (no sum over what may be split), so the
bytes of an image's view depend neither on its company nor on the number of threads. Ways that are
quicker for what was asked for, or for the matrices that were drawn, lead to the same bytes.
"""

from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from veduta.augment.blurring import blur, widest
from veduta.augment.erasing import erase, sums
from veduta.augment.matrices import LUMA, Array
from veduta.augment.registry import AUGMENTATIONS, Kind, image_names
from veduta.runtime.streams import Keys, stream, uniforms

Pixels = NDArray[np.uint8]
Changes = Mapping[Kind, Array]  # what `Augmentation.make` gives: one row an image

CODE = 1  # grows when the view of an image that a request gives changes
AT_ONCE = 2**16  # pixels in floating point at a time: they stay in a processor's cache


def augment(pixels: Pixels, keys: Keys, *, names: Collection[str], seed: int, view: int) -> Pixels:
    """One augmented view of each image, a pure function of (seed, view, image).

    Positions between pixels are interpolated linearly; what lies outside the image is its mirror.

    Args:
        pixels: uint8 (n, S, S, 3).
        keys: (n,), one 64-bit number an image, from its content.
        names: of `AUGMENTATIONS`, in any order; those of `MIXES` are left to `mixing`.
        seed: of the run.
        view: which of the views.

    Returns:
        uint8 (n, S, S, 3).
    """
    changes = drawn(keys, names, seed=seed, view=view)
    out = np.empty_like(pixels)
    count = max(1, AT_ONCE // pixels.shape[1] ** 2)
    for start in range(0, len(pixels), count):
        part = slice(start, start + count)
        out[part] = transform(pixels[part], {kind: rows[part] for kind, rows in changes.items()})
    return out


def drawn(keys: Keys, names: Collection[str], *, seed: int, view: int) -> dict[Kind, Array]:
    """What a view changes of each image; the matrices of several augmentations as one product."""
    found: dict[Kind, Array] = {}
    for name in image_names(names):
        one = AUGMENTATIONS[name]
        numbers = uniforms(stream(seed, "augment", name, view), keys, one.draws)
        rows = one.make(numbers.astype(np.float64))
        found[one.of] = found[one.of] @ rows if one.of in found else rows
    return found


def transform(pixels: Pixels, changes: Changes) -> Pixels:
    """Images (n, S, S, 3): colours mixed, looked up at other positions, blurred, a patch erased."""
    positions = changes.get("positions")
    if "colours" in changes or "sharpness" in changes or not _mirrors(positions):
        found = _resampled(pixels, changes)
    else:
        found = pixels.copy()
        if positions is not None:
            _exchange_sides(found, positions)
    if "patch" in changes:
        erase(found, changes["patch"])
    return found


def _mirrors(positions: Array | None) -> bool:
    """Whether each image stays as it is, or exchanges its sides: no pixel falls between others."""
    return positions is None or bool((abs(positions) == np.eye(3)).all())


def _exchange_sides(pixels: Pixels, positions: Array) -> None:
    turned, upset = positions[:, 0, 0] < 0, positions[:, 1, 1] < 0
    pixels[turned] = pixels[turned, :, ::-1]
    pixels[upset] = pixels[upset, ::-1]


def _resampled(pixels: Pixels, changes: Changes) -> Pixels:
    with torch.inference_mode():
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        if "colours" in changes:
            planes = _mixed(planes.contiguous(), changes["colours"], _mean_grey(pixels))
        if "positions" in changes:
            grid = _grid(changes["positions"], planes.shape[-1])
            planes = grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
        if "sharpness" in changes:
            planes = blur(planes, changes["sharpness"] * widest(planes.shape[-1]))
        whole = planes.round().numpy().astype(np.uint8)
    return np.stack([whole[:, channel] for channel in range(3)], axis=-1)


def _mean_grey(pixels: Pixels) -> Array:
    """The mean grey value of each image: whole numbers are added, so no order matters."""
    red, green, blue = sums(pixels).T
    grey = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return np.asarray(grey / (pixels.shape[1] * pixels.shape[2]))


def _mixed(planes: Tensor, colours: Array, mean: Array) -> Tensor:
    """Colours (n, 3, S, S) after their matrices, cut to what a pixel can hold."""
    weights = torch.from_numpy(colours.astype(np.float32))[..., None, None]
    shifts = torch.from_numpy((colours[:, :, 3] * mean[:, None]).astype(np.float32))
    mixed = planes[:, None, 0] * weights[:, :, 0]
    for channel in (1, 2):
        mixed += planes[:, None, channel] * weights[:, :, channel]
    return mixed.add_(shifts[:, :, None, None]).clamp_(0, 255)


def _grid(positions: Array, size: int) -> Tensor:
    """Where in the image each pixel of the view comes from: (n, S, S, 2), (x, y) from -1 to 1.

    A term that is 0 for all images, and a division by 1, are left out: they would change no bit.
    """
    h = torch.from_numpy(positions.astype(np.float32))[..., None, None]
    ticks = torch.from_numpy(((2 * np.arange(size) + 1) / size - 1).astype(np.float32))
    x, y = ticks[None, None, :], ticks[None, :, None]
    grid = torch.empty(len(positions), size, size, 2)
    if not positions[:, (0, 1), (1, 0)].any() and not positions[:, 2, :2].any():
        grid[..., 0] = h[:, 0, 0] * x + h[:, 0, 2]
        grid[..., 1] = h[:, 1, 1] * y + h[:, 1, 2]
        return grid
    scale = h[:, 2, 0] * x + h[:, 2, 1] * y + h[:, 2, 2]
    for row in range(2):
        place = h[:, row, 0] * x + h[:, row, 1] * y + h[:, row, 2]
        torch.div(place, scale, out=grid[..., row])
    return grid
