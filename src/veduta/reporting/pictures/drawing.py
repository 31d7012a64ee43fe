"""Colors, fonts and text of pictures that are drawn with Pillow."""

from functools import cache
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from veduta.tracking.text import make_visible
from veduta.types import Float32Array, PixelArray

COLORMAP = "inferno"
HEAT_OPACITY = 0.55  # of the heat map over the image in gray


def apply_colormap(heat: Float32Array) -> PixelArray:
    """Return the colors, uint8 (..., 3), of heat from 0 to 1."""
    colors: PixelArray = mpl.colormaps[COLORMAP](heat, bytes=True)[..., :3]
    return colors


def overlay_heat(pixels: PixelArray, heat: Float32Array) -> PixelArray:
    """Return an image (S, S, 3) in gray, with a heat map (S, S) over it."""
    gray = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    blended = HEAT_OPACITY * apply_colormap(heat) + (1 - HEAT_OPACITY) * gray
    return blended.round().astype(np.uint8)


def resize_picture(
    pixels: PixelArray, side: int, resampling: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Return pixels as a square picture of `side` pixels."""
    return Image.fromarray(pixels).resize((side, side), resampling)


PAPER, INK, FAINT, RULE = "#ffffff", "#1d2430", "#6b7280", "#e3e6ea"
MAX_NAME: Final = 22  # characters of a class name
TITLE, TEXT, NOTE = 22, 14, 11  # font sizes
MARGIN, HEAD = 24, 84  # pixels around a picture, and of the height of its title
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def shorten_name(name: str) -> str:
    """Return a name on one line, shortened to leave room for pictures."""
    name = " ".join(make_visible(name).split())
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + ELLIPSIS


def fit_text(text: str, width: int, size: int = NOTE) -> str:
    """Shorten a text until it is at most `width` pixels wide in the font of this size."""
    while text and load_font(size).getlength(text) > width:
        text = text[:-2].rstrip() + ELLIPSIS
    return text


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Load the font that comes with matplotlib, which covers many languages."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def draw_title(picture: Image.Image, title: str, subtitle: str) -> None:
    """Draw a title and a subtitle at the top of a picture."""
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN - 4), title, INK, load_font(TITLE))
    draw.text((MARGIN, MARGIN + TITLE + 6), subtitle, FAINT, load_font(TEXT))
