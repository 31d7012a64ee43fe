"""Pictures of what a model looks at: an overlay of each image, a sheet of all, maps and kernels.

The heat lies on the image in grey, so that the image's own colours cannot be taken for heat. Its
colours (inferno) grow lighter all the way, so that they are read without seeing colour too.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from veduta.experiment.explainer import GRADCAM, Explained, Explainer
from veduta.experiment.preview import Row, Sheet
from veduta.report.lettering import FAINT, INK, NOTE, PAPER, TEXT, TITLE, fitting, font, short
from veduta.report.sheet import draw
from veduta.runs.files import write_atomically

Pixels = NDArray[np.uint8]
Array = NDArray[np.float32]

COLOURS = "inferno"
SHARE = 0.55  # of the heat's colour in an overlay; the rest is the image
LARGE, SMALL = 336, 168  # pixels of a picture's side in an overlay, and on the sheet
MARGIN, GAP, BREAK = 24, 4, 24
ACROSS, MOST = 3, 60  # images side by side on the sheet, and on it at most
LINE = 18  # height of a line of words
WRONG = "#b3261e"  # ink of a wrong label, which says so in words too
HEAD = 84  # height of the title of a sheet
STRONGEST, MOST_ROWS = 9, 24  # maps of an image, and images, on the sheet of maps
KERNELS_ACROSS, KERNEL = 8, 64  # kernels side by side, and about how many pixels a side


def draw_explained(folder: Path, explainer: Explainer, answers: Iterator[Explained]) -> None:
    """Draw each answer as it comes, then sheets of them: `explain.png`, `maps.png`, `kernels.png`.

    Args:
        folder: where to; overlays stand in `overlays/`.
        explainer: who was asked, and what.
        answers: what was said; only as much is kept as a sheet shows.
    """
    (folder / "overlays").mkdir()
    tiles: list[Image.Image] = []
    rows: list[Row] = []
    many = 0
    for many, one in enumerate(answers, start=1):
        _save(overlay(one), folder / one.overlay)
        if many <= MOST:
            tiles.append(tile(one, SMALL))
        if one.maps is not None and len(rows) < MOST_ROWS:
            rows.append(strongest(one.label, one.pixels, one.maps))
    if tiles:
        _save(_sheet(tiles, explainer, many), folder / "explain.png")
    if rows and explainer.layer:
        channels, side, _ = explainer.layer.shape
        detail = f"{channels} maps of {side} x {side} places; the strongest of each image by mean"
        columns = ("image", *(f"{n}." for n in range(1, len(rows[0].notes))))
        title = f"Feature maps at {explainer.layer.name}"
        _save(draw(Sheet(title, detail, columns, tuple(rows))), folder / "maps.png")
    if explainer.kernels is not None:
        _save(kernel_sheet(explainer.kernels), folder / "kernels.png")


def coloured(heat: Array) -> Pixels:
    """Colours, uint8 (..., 3), of heat from 0 to 1."""
    found: Pixels = mpl.colormaps[COLOURS](heat, bytes=True)[..., :3]
    return found


def laid_over(pixels: Pixels, heat: Array) -> Pixels:
    """The heat (S, S) on the image (S, S, 3) in grey."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return (SHARE * coloured(heat) + (1 - SHARE) * grey).round().astype(np.uint8)


def overlay(one: Explained) -> Image.Image:
    """The picture of one image: as it is, with its heat, and what the model says of it."""
    drawn = tile(one, LARGE)
    paper = Image.new("RGB", (drawn.width + 2 * MARGIN, drawn.height + 2 * MARGIN), PAPER)
    paper.paste(drawn, (MARGIN, MARGIN))
    return paper


def tile(one: Explained, side: int) -> Image.Image:
    """The image and its heat side by side; below them the label and the file, and what is known."""
    paper = Image.new("RGB", (2 * side + GAP, side + 6 + 2 * LINE), PAPER)
    for x, pixels in ((0, one.pixels), (side + GAP, laid_over(one.pixels, one.heat))):
        paper.paste(_sized(pixels, side), (x, 0))
    pen = ImageDraw.Draw(paper)
    label = fitting(_line(f"{one.label} {one.probability:.1%}"), 3 * side // 2, TEXT)
    pen.text((0, side + 6), label, INK, font(TEXT))
    room = paper.width - round(font(TEXT).getlength(label)) - BREAK
    name = fitting(_line(one.sample.path.name), room)
    pen.text((paper.width, side + 9), name, FAINT, font(NOTE), anchor="ra")
    ink = WRONG if one.truth not in {None, one.label} else FAINT
    pen.text((0, side + 6 + LINE), fitting(_line(_known(one)), paper.width), ink, font(NOTE))
    return paper


def strongest(label: str, pixels: Pixels, maps: Array) -> Row:
    """A row of a sheet: an image and the maps (C, h, w) with the largest means, each by itself.

    Black is the least of a map, the lightest colour the most; below it stands its number, from 0.
    """
    chosen = np.argsort(-maps.mean((1, 2)), kind="stable")[:STRONGEST]
    shown = [
        _sized(coloured(_stretched(maps[number])), len(pixels), Image.Resampling.NEAREST)
        for number in chosen
    ]
    notes = ("", *(f"map {number}" for number in chosen))
    return Row(label, np.stack([pixels, *map(np.asarray, shown)]), notes)


def kernel_sheet(kernels: Array) -> Image.Image:
    """Kernels (n, k, k, 3), from 0 to 1, as a picture: a square each."""
    count, size = kernels.shape[:2]
    side = size * max(1, round(KERNEL / size))
    down = -(-count // KERNELS_ACROSS)
    width = KERNELS_ACROSS * (side + GAP) - GAP + 2 * MARGIN
    paper = Image.new("RGB", (width, HEAD + down * (side + GAP) - GAP + MARGIN), PAPER)
    _title(paper, "First-layer kernels", f"{count} of {size} x {size} pixels; grey is 0")
    for number, kernel in enumerate((255 * kernels).round().astype(np.uint8)):
        row, column = divmod(number, KERNELS_ACROSS)
        place = (MARGIN + column * (side + GAP), HEAD + row * (side + GAP))
        paper.paste(_sized(kernel, side, Image.Resampling.NEAREST), place)
    return paper


def _sheet(tiles: list[Image.Image], explainer: Explainer, many: int) -> Image.Image:
    """All tiles below a title, and what the colours mean."""
    across = min(ACROSS, len(tiles))
    wide, high = tiles[0].width + BREAK, tiles[0].height + BREAK
    width = max(across * wide - BREAK, 2 * LARGE) + 2 * MARGIN
    paper = Image.new("RGB", (width, HEAD + -(-len(tiles) // across) * high), PAPER)
    layer, question = explainer.layer, explainer.question
    how = f"Grad-CAM at {layer.name}" if question.method == GRADCAM and layer else "occlusion"
    target = short(question.target) if question.target else "the predicted class"
    shown = f", the first {len(tiles)} of {many} images" if many > len(tiles) else ""
    _title(paper, f"What speaks for {target}", f"{how}{shown}")
    _legend(paper)
    for number, one in enumerate(tiles):
        row, column = divmod(number, across)
        paper.paste(one, (MARGIN + column * wide, HEAD + row * high))
    return paper


def _title(paper: Image.Image, title: str, detail: str) -> None:
    pen = ImageDraw.Draw(paper)
    pen.text((MARGIN, MARGIN - 4), title, INK, font(TITLE))
    pen.text((MARGIN, MARGIN + TITLE + 6), detail, FAINT, font(TEXT))


def _legend(paper: Image.Image) -> None:
    """A strip of the heat's colours, at the right of the title."""
    right, top, width = paper.width - MARGIN, MARGIN + TITLE + 8, 120
    strip = np.broadcast_to(coloured(np.linspace(0, 1, width, dtype=np.float32)), (12, width, 3))
    words = font(NOTE)
    left = right - round(words.getlength("most")) - 6 - width
    paper.paste(Image.fromarray(np.ascontiguousarray(strip)), (left, top))
    pen = ImageDraw.Draw(paper)
    pen.text((left - 6, top + 6), "none", FAINT, words, anchor="rm")
    pen.text((left + width + 6, top + 6), "most", FAINT, words, anchor="lm")


def _known(one: Explained) -> str:
    """Whether the label is right, where that is known; what the heat is for, and how much it is."""
    said = []
    if one.truth is not None:
        right = one.truth == one.label
        said.append("right" if right else f"wrong: its folder is {one.truth}")
    if one.target != one.label:
        said.append(f"heat for {one.target}, {one.target_probability:.1%}")
    if not one.heat.any():
        said.append("nothing in it speaks for the class")
    elif one.drop is not None:
        said.append(f"a patch takes {100 * one.drop:.1f} points at most")
    return "; ".join(said)


def _line(text: str) -> str:
    """Names of files and folders in one line; what is no letter in any script becomes a mark."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _stretched(values: Array) -> Array:
    """From its least, 0, to its most, 1; 0 where all are the same."""
    least, most = float(values.min()), float(values.max())
    return (values - least) / (most - least) if most > least else np.zeros_like(values)


def _sized(
    pixels: Pixels, side: int, way: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    return Image.fromarray(pixels).resize((side, side), way)


def _save(picture: Image.Image, path: Path) -> None:
    content = BytesIO()
    picture.save(content, format="PNG", optimize=True)
    write_atomically(path, content.getvalue())
