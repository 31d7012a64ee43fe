"""Heat as colours, by itself and on an image.

The heat lies on the image in grey, so that the image's own colours cannot be taken for heat. Its
colours (inferno) grow lighter all the way, so that they are read without seeing colour too.
"""

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Array = NDArray[np.float32]

COLOURS = "inferno"
SHARE = 0.55  # of the heat's colour on an image; the rest is the image


def coloured(heat: Array) -> Pixels:
    """Colours, uint8 (..., 3), of heat from 0 to 1."""
    found: Pixels = mpl.colormaps[COLOURS](heat, bytes=True)[..., :3]
    return found


def laid_over(pixels: Pixels, heat: Array) -> Pixels:
    """The heat (S, S) on the image (S, S, 3) in grey."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return (SHARE * coloured(heat) + (1 - SHARE) * grey).round().astype(np.uint8)


def sized(
    pixels: Pixels, side: int, way: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """A picture with sides of so many pixels."""
    return Image.fromarray(pixels).resize((side, side), way)
