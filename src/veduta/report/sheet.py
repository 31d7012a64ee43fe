"""A sheet of pictures as a PNG file: a row an image, a column an epoch.

Drawn with Pillow: pixels stand as the network gets them, each enlarged to a whole number of them.
"""

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw

from veduta.experiment.preview import Row, Sheet
from veduta.report.lettering import FAINT, INK, NOTE, PAPER, RULE, TEXT, TITLE, fitting, font, short
from veduta.runs.files import expect_room, write_atomically

SMALLEST, LARGEST = 112, 176  # pixels of a picture's side on the sheet
MARGIN, GAP, BREAK = 32, 6, 18  # around all; between pictures; after the image, and a class
HEAD, COLUMN, FOOT = 82, 24, 16  # heights of the title, the names of columns, a line of notes


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
    left = MARGIN + round(labels) + BREAK
    xs = [left] + [left + BREAK + n * (side + GAP) for n in range(1, len(sheet.columns))]
    ys = list(_tops(sheet.rows, side + foot))
    words = max(font(TITLE).getlength(sheet.title), font(TEXT).getlength(sheet.detail))
    width = max(xs[-1] + side, MARGIN + round(words)) + MARGIN
    paper = Image.new("RGB", (width, ys[-1] + side + foot + MARGIN), PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((MARGIN, MARGIN), sheet.title, INK, font(TITLE))
    pen.text((MARGIN, MARGIN + TITLE + 12), sheet.detail, FAINT, font(TEXT))
    for x, name in zip(xs, sheet.columns, strict=True):
        pen.text((x, ys[0] - 8), name, FAINT, font(TEXT), anchor="ls")
    before = None
    for row, y in zip(sheet.rows, ys, strict=True):
        if row.label != before:
            pen.text((MARGIN, y + side // 2), short(row.label), INK, font(TEXT), anchor="lm")
        if before not in {None, row.label}:
            between = y - (GAP + BREAK) // 2
            pen.line((MARGIN, between, width - MARGIN, between), RULE)
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
    y = MARGIN + HEAD + COLUMN
    yield y
    for before, row in pairwise(rows):
        y += height + GAP + (BREAK if before.label != row.label else 0)
        yield y


def _side(size: int) -> int:
    """Of a picture on the sheet: a whole number of times its own where that is small."""
    return min(LARGEST, size * max(1, -(-SMALLEST // size)))
