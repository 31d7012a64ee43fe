"""Images with two patches of one size: the color of one is the class, that of the other is not."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from veduta.explanation.gradcam import HeatMaps
from veduta.explanation.layers import Positions
from veduta.types import IntArray

DECISIVE_COLORS = np.array([(210, 60, 60), (60, 60, 210)])  # red or blue: the class
IRRELEVANT_COLORS = np.array([(60, 190, 60), (190, 60, 190)])  # green or purple, at random


@dataclass(frozen=True)
class PatchImages:
    """Images with two patches.

    Attributes:
        pixels: uint8 (n, S, S, 3).
        labels: (n,).
        decisive, irrelevant: (n, 2), row and column of the corner of each patch.
        side: side of the patches in pixels.
    """

    pixels: Tensor
    labels: Tensor
    decisive: IntArray
    irrelevant: IntArray
    side: int

    def measure_pointing_accuracy(
        self, heat_maps: HeatMaps, positions: Positions, corners: IntArray, *, tolerance: float = 0
    ) -> float:
        """Return the fraction of images whose largest heat is in the patch at `corners`.

        The maximum may be `tolerance` pixels outside. A map of zeros points at nothing.
        """
        flat = heat_maps.raw.flatten(1)
        largest = flat.argmax(1).numpy()
        width = heat_maps.raw.shape[2]
        points = np.stack([largest // width, largest % width], axis=1)
        pixels = (positions.start + positions.step * points).clip(0, self.pixels.shape[1] - 1)
        inside = (corners - tolerance <= pixels) & (pixels < corners + self.side + tolerance)
        return float((inside.all(1) & (flat.amax(1) > 0).numpy()).mean())


def draw_patch_images(count: int, size: int, side: int, seed: int) -> PatchImages:
    """Return images of noise with two patches that do not touch, at random positions."""
    assert size >= 5 * side // 2 + 1, "both patches must fit"
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(128, 25, (count, size, size, 3)), 0, 255)
    corners = np.empty((count, 2, 2), np.int64)
    for index in range(count):
        while True:
            corners[index] = rng.integers(0, size - side + 1, (2, 2))
            if np.abs(corners[index, 0] - corners[index, 1]).max() >= side + side // 2:
                break
    labels, colors = rng.integers(0, 2, (2, count))
    for image, (first, second), label, color in zip(pixels, corners, labels, colors, strict=True):
        patches = (first, DECISIVE_COLORS[label]), (second, IRRELEVANT_COLORS[color])
        for (top, left), mean in patches:
            noisy = mean + rng.normal(0, 25, (side, side, 3))
            image[top : top + side, left : left + side] = np.clip(noisy, 0, 255)
    return PatchImages(
        torch.from_numpy(pixels.astype(np.uint8)),
        torch.from_numpy(labels),
        corners[:, 0],
        corners[:, 1],
        side,
    )
