"""The one definition of what happens to an image before a model sees it, scaling of values apart.

Training, evaluation and prediction all call it, so that a model is never shown another image than
the one it learnt from.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, slots=True)
class Resize:
    """Any image to a square of `size` pixels a side, antialiased.

    Attributes:
        size: Pixels a side.
        filter: A filter of Pillow: nearest, box, bilinear, hamming, bicubic or lanczos.
        fit: "squash" takes the whole image, "crop" the largest square in its centre (the shorter
            side scaled to `size`, the rest cut off).
    """

    size: int
    filter: str = "bicubic"
    fit: str = "squash"

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3) -> (size, size, 3); an image of that size comes back unchanged."""
        height, width = pixels.shape[:2]
        if (height, width) == (self.size, self.size):
            return pixels
        left = top = 0.0
        if self.fit == "crop":  # cut before scaling: a strip of 1 x 20000 stays small
            shorter = min(height, width)
            left, top = (width - shorter) / 2, (height - shorter) / 2
        box = (left, top, width - left, height - top)
        method = Image.Resampling[self.filter.upper()]
        image = Image.fromarray(pixels).resize((self.size, self.size), method, box)
        return np.asarray(image)
