"""Images with two patches of one size: the colour of one is the class, that of the other is not."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.explanation.gradcam import Heat
from veduta.explanation.layers import Places

DECIDES = np.array([(210, 60, 60), (60, 60, 210)])  # red or blue: the class
IDLE = np.array([(60, 190, 60), (190, 60, 190)])  # green or purple: a coin


@dataclass(frozen=True)
class Patches:
    """Pixels (n, S, S, 3), their classes, and where both patches begin, (n, 2) rows and columns."""

    pixels: Tensor
    labels: Tensor
    decisive: NDArray[np.int64]
    idle: NDArray[np.int64]
    side: int

    def hits(
        self, heat: Heat, places: Places, corners: NDArray[np.int64], *, slack: float = 0
    ) -> float:
        """Pointing game: how often the place of most heat lies in the patch at `corners`.

        One that is at most `slack` pixels away counts too. Where all is 0 nothing is pointed at.
        """
        flat = heat.raw.flatten(1)
        best = flat.argmax(1).numpy()
        points = np.stack([best // heat.raw.shape[2], best % heat.raw.shape[2]], axis=1)
        where = (places.start + places.step * points).clip(0, self.pixels.shape[1] - 1)
        inside = (corners - slack <= where) & (where < corners + self.side + slack)
        return float((inside.all(1) & (flat.amax(1) > 0).numpy()).mean())


def patches(count: int, size: int, side: int, seed: int) -> Patches:
    """Noise with two patches that do not touch, anywhere."""
    assert size >= 5 * side // 2 + 1, "there must be room for both"
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(128, 25, (count, size, size, 3)), 0, 255)
    corners = np.empty((count, 2, 2), np.int64)
    for place in range(count):
        while True:
            corners[place] = rng.integers(0, size - side + 1, (2, 2))
            if np.abs(corners[place, 0] - corners[place, 1]).max() >= side + side // 2:
                break
    labels, coins = rng.integers(0, 2, (2, count))
    for image, (first, second), label, coin in zip(pixels, corners, labels, coins, strict=True):
        for (top, left), colour in ((first, DECIDES[label]), (second, IDLE[coin])):
            shade = colour + rng.normal(0, 25, (side, side, 3))
            image[top : top + side, left : left + side] = np.clip(shade, 0, 255)
    return Patches(
        torch.from_numpy(pixels.astype(np.uint8)),
        torch.from_numpy(labels),
        corners[:, 0],
        corners[:, 1],
        side,
    )
