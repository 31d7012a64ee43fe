"""Sheets of pictures: one row per image, one column per epoch, feature map or kernel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

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
    apply_colormap,
    draw_title,
    fit_text,
    load_font,
    resize_picture,
    shorten_name,
)
from veduta.runtime.disk import explain_write_errors, write_atomically
from veduta.types import Float32Array, PixelArray

MIN_SIDE, MAX_SIDE = 112, 176  # pixels of a picture's side on the sheet
SHEET_MARGIN, SHEET_GAP = 32, 6  # pixels around the sheet, and between pictures
BREAK = 18  # additional pixels after the first column, and between classes
SHEET_HEAD, COLUMN_HEAD, NOTE_HEIGHT = 82, 24, 16  # pixels


@dataclass(frozen=True, slots=True)
class Row:
    """Pictures of one image.

    Attributes:
        label: class of the image.
        pixels: uint8 (columns, S, S, 3), the image itself first.
        notes: (columns), text below each picture; may be empty.
    """

    label: str
    pixels: PixelArray
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows of pictures with a title.

    Attributes:
        title: title of the sheet.
        detail: second line of the title.
        columns: heading of each column.
        rows: rows of a class follow one another.
    """

    title: str
    detail: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def write_sheets(folder: Path, sheets: Sequence[Sheet]) -> tuple[Path, ...]:
    """Write each sheet as a PNG file, and return the paths.

    A single sheet is `preview.png`; several are `preview-1.png`, `preview-2.png` and so on.

    Raises:
        VedutaError: the disk is full.
    """
    names = [f"preview-{number}.png" for number in range(1, len(sheets) + 1)]
    paths = [folder / name for name in (names if len(sheets) > 1 else ["preview.png"])]
    with explain_write_errors(folder):
        for path, sheet in zip(paths, sheets, strict=True):
            content = BytesIO()
            draw_sheet(sheet).save(content, format="PNG", optimize=True)
            write_atomically(path, content.getvalue())
    return tuple(paths)


def draw_sheet(sheet: Sheet) -> Image.Image:
    """Draw a sheet."""
    side = _choose_side(sheet.rows[0].pixels.shape[1])
    note_height = NOTE_HEIGHT if any(any(row.notes) for row in sheet.rows) else 0
    label_width = max(load_font(TEXT).getlength(shorten_name(row.label)) for row in sheet.rows)
    left = SHEET_MARGIN + round(label_width) + BREAK
    others = range(1, len(sheet.columns))
    xs = [left, *(left + BREAK + number * (side + SHEET_GAP) for number in others)]
    ys = list(_list_tops(sheet.rows, side + note_height))
    title_width = max(
        load_font(TITLE).getlength(sheet.title), load_font(TEXT).getlength(sheet.detail)
    )
    width = max(xs[-1] + side, SHEET_MARGIN + round(title_width)) + SHEET_MARGIN
    picture = Image.new("RGB", (width, ys[-1] + side + note_height + SHEET_MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((SHEET_MARGIN, SHEET_MARGIN), sheet.title, INK, load_font(TITLE))
    draw.text((SHEET_MARGIN, SHEET_MARGIN + TITLE + 12), sheet.detail, FAINT, load_font(TEXT))
    for x, name in zip(xs, sheet.columns, strict=True):
        draw.text((x, ys[0] - 8), name, FAINT, load_font(TEXT), anchor="ls")
    previous = None
    for row, y in zip(sheet.rows, ys, strict=True):
        if row.label != previous:
            label = shorten_name(row.label)
            draw.text((SHEET_MARGIN, y + side // 2), label, INK, load_font(TEXT), anchor="lm")
        if previous not in {None, row.label}:
            line_y = y - (SHEET_GAP + BREAK) // 2
            draw.line((SHEET_MARGIN, line_y, width - SHEET_MARGIN, line_y), RULE)
        _draw_row(picture, row, xs, y, side=side)
        previous = row.label
    return picture


def _draw_row(picture: Image.Image, row: Row, xs: Sequence[int], y: int, *, side: int) -> None:
    """Draw the pictures of a row with their notes below."""
    draw = ImageDraw.Draw(picture)
    for x, pixels, note in zip(xs, row.pixels, row.notes, strict=True):
        image = Image.fromarray(pixels)
        enlarges = side >= image.width
        resampling = Image.Resampling.NEAREST if enlarges else Image.Resampling.LANCZOS
        picture.paste(image.resize((side, side), resampling), (x, y))
        draw.text((x, y + side + 3), fit_text(note, side), FAINT, load_font(NOTE))


def _list_tops(rows: Sequence[Row], height: int) -> Iterator[int]:
    """Yield the y coordinate of each row."""
    y = SHEET_MARGIN + SHEET_HEAD + COLUMN_HEAD
    yield y
    for previous, row in pairwise(rows):
        y += height + SHEET_GAP + (BREAK if previous.label != row.label else 0)
        yield y


def _choose_side(size: int) -> int:
    """Return the side of a picture on the sheet: an integer multiple of `size` if it is small."""
    return min(MAX_SIDE, size * max(1, -(-MIN_SIDE // size)))


MAX_MAPS = 9  # feature maps per image
KERNEL_COLUMNS, KERNEL_SIDE, KERNEL_GAP = 8, 64, 4  # the side is approximate, in pixels


def draw_feature_map_sheet(rows: Sequence[Row], layer: Layer) -> Image.Image:
    """Draw rows of `select_strongest_maps`."""
    channels, height, width = layer.shape
    detail = f"{channels} feature maps of {height} x {width}; for each image those of highest mean"
    columns = ("image", *(f"{number}." for number in range(1, len(rows[0].notes))))
    return draw_sheet(Sheet(f"Feature maps at {layer.name}", detail, columns, tuple(rows)))


def select_strongest_maps(label: str, pixels: PixelArray, maps: Float32Array) -> Row:
    """Return a row of an image and the feature maps (C, h, w) with the highest means.

    Each map is scaled by itself: its minimum is black and its maximum the lightest color. Notes
    are the numbers of the maps, from 0.
    """
    strongest = np.argsort(-maps.mean((1, 2)), kind="stable")[:MAX_MAPS]
    pictures = [
        resize_picture(
            apply_colormap(_scale_to_unit(maps[number])), len(pixels), Image.Resampling.NEAREST
        )
        for number in strongest
    ]
    notes = ("", *(f"map {number}" for number in strongest))
    return Row(label, np.stack([pixels, *map(np.asarray, pictures)]), notes)


def draw_kernel_sheet(kernels: Float32Array) -> Image.Image:
    """Draw kernels (n, k, k, 3), from 0 to 1, as one square each."""
    count, size = kernels.shape[:2]
    side = size * max(1, round(KERNEL_SIDE / size))
    row_count = -(-count // KERNEL_COLUMNS)
    width = KERNEL_COLUMNS * (side + KERNEL_GAP) - KERNEL_GAP + 2 * MARGIN
    height = HEAD + row_count * (side + KERNEL_GAP) - KERNEL_GAP + MARGIN
    picture = Image.new("RGB", (width, height), PAPER)
    draw_title(picture, "First-layer kernels", f"{count} of {size} x {size} pixels; gray is 0")
    for number, kernel in enumerate((255 * kernels).round().astype(np.uint8)):
        row, column = divmod(number, KERNEL_COLUMNS)
        corner = (MARGIN + column * (side + KERNEL_GAP), HEAD + row * (side + KERNEL_GAP))
        picture.paste(resize_picture(kernel, side, Image.Resampling.NEAREST), corner)
    return picture


def _scale_to_unit(values: Float32Array) -> Float32Array:
    """Scale values to the range 0 to 1; 0 if all are equal."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
