"""Sheets of pictures: one row per image, one column per epoch, feature map or kernel."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from veduta.diagnostics.preview import Row, Sheet
from veduta.explanation.layers import Layer
from veduta.reporting.pictures.drawing import (
    FAINT,
    HEAD,
    INK,
    MARGIN,
    NOTE,
    PAPER,
    RULE,
    TEXT,
    TITLE,
    Array,
    Pixels,
    coloured,
    fitting,
    font,
    short,
    sized,
    titled,
)
from veduta.runs.files import expect_room, write_atomically

SMALLEST, LARGEST = 112, 176  # pixels of a picture's side on the sheet
SHEET_MARGIN, SHEET_GAP, BREAK = (
    32,
    6,
    18,
)  # around all; between pictures; after the image, and a class
SHEET_HEAD, COLUMN, FOOT = 82, 24, 16  # heights of the title, the names of columns, a line of notes


def write_sheets(folder: Path, sheets: Sequence[Sheet]) -> tuple[Path, ...]:
    """Each sheet as a PNG file: `preview.png`, or `preview-1.png` and on where there are several.

    Raises:
        VedutaError: the folder has no room.
    """
    names = [f"preview-{n}.png" for n in range(1, len(sheets) + 1)]
    paths = [folder / name for name in (names if len(sheets) > 1 else ["preview.png"])]
    with expect_room(folder):
        for path, sheet in zip(paths, sheets, strict=True):
            content = BytesIO()
            draw(sheet).save(content, format="PNG", optimize=True)
            write_atomically(path, content.getvalue())
    return tuple(paths)


def draw(sheet: Sheet) -> Image.Image:
    """The sheet as a picture."""
    side = _side(sheet.rows[0].pixels.shape[1])
    foot = FOOT if any(any(row.notes) for row in sheet.rows) else 0
    labels = max(font(TEXT).getlength(short(row.label)) for row in sheet.rows)
    left = SHEET_MARGIN + round(labels) + BREAK
    xs = [left] + [left + BREAK + n * (side + SHEET_GAP) for n in range(1, len(sheet.columns))]
    ys = list(_tops(sheet.rows, side + foot))
    words = max(font(TITLE).getlength(sheet.title), font(TEXT).getlength(sheet.detail))
    width = max(xs[-1] + side, SHEET_MARGIN + round(words)) + SHEET_MARGIN
    paper = Image.new("RGB", (width, ys[-1] + side + foot + SHEET_MARGIN), PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((SHEET_MARGIN, SHEET_MARGIN), sheet.title, INK, font(TITLE))
    pen.text((SHEET_MARGIN, SHEET_MARGIN + TITLE + 12), sheet.detail, FAINT, font(TEXT))
    for x, name in zip(xs, sheet.columns, strict=True):
        pen.text((x, ys[0] - 8), name, FAINT, font(TEXT), anchor="ls")
    before = None
    for row, y in zip(sheet.rows, ys, strict=True):
        if row.label != before:
            pen.text((SHEET_MARGIN, y + side // 2), short(row.label), INK, font(TEXT), anchor="lm")
        if before not in {None, row.label}:
            between = y - (SHEET_GAP + BREAK) // 2
            pen.line((SHEET_MARGIN, between, width - SHEET_MARGIN, between), RULE)
        _lay(paper, row, xs, y, side=side)
        before = row.label
    return paper


def _lay(paper: Image.Image, row: Row, xs: Sequence[int], y: int, *, side: int) -> None:
    """The pictures of a row, with what each was mixed with below it."""
    pen = ImageDraw.Draw(paper)
    for x, pixels, note in zip(xs, row.pixels, row.notes, strict=True):
        one = Image.fromarray(pixels)
        larger = side >= one.width
        way = Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS
        paper.paste(one.resize((side, side), way), (x, y))
        pen.text((x, y + side + 3), fitting(note, side), FAINT, font(NOTE))


def _tops(rows: Sequence[Row], height: int) -> Iterator[int]:
    """Where each row begins."""
    y = SHEET_MARGIN + SHEET_HEAD + COLUMN
    yield y
    for before, row in pairwise(rows):
        y += height + SHEET_GAP + (BREAK if before.label != row.label else 0)
        yield y


def _side(size: int) -> int:
    """Of a picture on the sheet: a whole number of times its own where that is small."""
    return min(LARGEST, size * max(1, -(-SMALLEST // size)))


KERNEL_GAP = 4  # pixels between kernels
STRONGEST = 9  # maps of an image
ACROSS, SIDE = 8, 64  # kernels side by side, and about how many pixels a side


def map_sheet(rows: list[Row], layer: Layer) -> Image.Image:
    """Rows of `strongest` as a picture."""
    channels, side, _ = layer.shape
    detail = f"{channels} maps of {side} x {side} places; the strongest of each image by mean"
    columns = ("image", *(f"{n}." for n in range(1, len(rows[0].notes))))
    return draw(Sheet(f"Feature maps at {layer.name}", detail, columns, tuple(rows)))


def strongest(label: str, pixels: Pixels, maps: Array) -> Row:
    """A row of a sheet: an image and the maps (C, h, w) with the largest means, each by itself.

    Black is the least of a map, the lightest colour the most; below it stands its number, from 0.
    """
    chosen = np.argsort(-maps.mean((1, 2)), kind="stable")[:STRONGEST]
    shown = [
        sized(coloured(_stretched(maps[number])), len(pixels), Image.Resampling.NEAREST)
        for number in chosen
    ]
    notes = ("", *(f"map {number}" for number in chosen))
    return Row(label, np.stack([pixels, *map(np.asarray, shown)]), notes)


def kernel_sheet(kernels: Array) -> Image.Image:
    """Kernels (n, k, k, 3), from 0 to 1, as a picture: a square each."""
    count, size = kernels.shape[:2]
    side = size * max(1, round(SIDE / size))
    down = -(-count // ACROSS)
    width = ACROSS * (side + KERNEL_GAP) - KERNEL_GAP + 2 * MARGIN
    paper = Image.new(
        "RGB", (width, HEAD + down * (side + KERNEL_GAP) - KERNEL_GAP + MARGIN), PAPER
    )
    titled(paper, "First-layer kernels", f"{count} of {size} x {size} pixels; grey is 0")
    for number, kernel in enumerate((255 * kernels).round().astype(np.uint8)):
        row, column = divmod(number, ACROSS)
        place = (MARGIN + column * (side + KERNEL_GAP), HEAD + row * (side + KERNEL_GAP))
        paper.paste(sized(kernel, side, Image.Resampling.NEAREST), place)
    return paper


def _stretched(values: Array) -> Array:
    """From its least, 0, to its most, 1; 0 where all are the same."""
    least, most = float(values.min()), float(values.max())
    return (values - least) / (most - least) if most > least else np.zeros_like(values)
