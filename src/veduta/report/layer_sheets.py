"""Sheets of what stands in a network: feature maps of images, and kernels of the first layer."""

import numpy as np
from PIL import Image

from veduta.experiment.preview import Row, Sheet
from veduta.explain.layers import Layer
from veduta.report.heat_colours import Array, Pixels, coloured, sized
from veduta.report.lettering import HEAD, MARGIN, PAPER, titled
from veduta.report.sheet import draw

GAP = 4  # pixels between kernels
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
    width = ACROSS * (side + GAP) - GAP + 2 * MARGIN
    paper = Image.new("RGB", (width, HEAD + down * (side + GAP) - GAP + MARGIN), PAPER)
    titled(paper, "First-layer kernels", f"{count} of {size} x {size} pixels; grey is 0")
    for number, kernel in enumerate((255 * kernels).round().astype(np.uint8)):
        row, column = divmod(number, ACROSS)
        place = (MARGIN + column * (side + GAP), HEAD + row * (side + GAP))
        paper.paste(sized(kernel, side, Image.Resampling.NEAREST), place)
    return paper


def _stretched(values: Array) -> Array:
    """From its least, 0, to its most, 1; 0 where all are the same."""
    least, most = float(values.min()), float(values.max())
    return (values - least) / (most - least) if most > least else np.zeros_like(values)
