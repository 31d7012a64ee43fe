"""Colors, fonts and text of pictures drawn with Pillow."""

from functools import cache
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from veduta.tracking.html import visible

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


PAPER, INK, FAINT, RULE = "#ffffff", "#1d2430", "#6b7280", "#e3e6ea"
LONGEST: Final = 22  # characters of a class name
TITLE, TEXT, NOTE = 22, 14, 11  # sizes of type
MARGIN, HEAD = 24, 84  # of a picture that is titled: around all; height of its title

Font = ImageFont.FreeTypeFont


def short(name: str) -> str:
    """A name in one line that leaves room for pictures."""
    name = " ".join(visible(name).split())
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def fitting(note: str, width: int, size: int = NOTE) -> str:
    """As much of a note as fits below a picture, in type of this size."""
    while note and font(size).getlength(note) > width:
        note = note[:-2].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return note


@cache
def font(size: int) -> Font:
    """The font that comes with matplotlib: it has the letters of many languages."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def titled(paper: Image.Image, title: str, detail: str) -> None:
    """Write a title, and below it what else is to be known, at the top of a picture."""
    pen = ImageDraw.Draw(paper)
    pen.text((MARGIN, MARGIN - 4), title, INK, font(TITLE))
    pen.text((MARGIN, MARGIN + TITLE + 6), detail, FAINT, font(TEXT))
