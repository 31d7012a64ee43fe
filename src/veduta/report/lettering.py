"""Ink and letters of pictures that are drawn with Pillow, and names cut to the room there is."""

from functools import cache
from pathlib import Path
from typing import Final

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from veduta.tracking.html import visible

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
