"""What decoding hands on: pixels, and what kind of file they came in.

It stands apart from the decoder, because what only looks at pictures needs no Pillow.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """A file as it was decoded.

    Attributes:
        pixels: Of the first frame, shape (height, width, 3), RGB, 0 to 255, upright.
        format: As Pillow names it, such as "JPEG", "PNG" or "MPO".
        mode: Of what the file holds, as Pillow names it: "RGB", "L", "CMYK", "P", ...
        deep: Whether it has 16 bits a channel.
        transparent: Whether it may be transparent somewhere.
        animated: Whether it has more than one frame.
        orientation: EXIF orientation, 1 to 8; 1 where it has none.
    """

    pixels: Pixels
    format: str
    mode: str
    deep: bool
    transparent: bool
    animated: bool
    orientation: int
