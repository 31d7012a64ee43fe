"""Pictures of explanations: an overlay per image, and sheets of all images."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from veduta.inference.explainer import GRADCAM, Explainer, ImageExplanation
from veduta.reporting.pictures.drawing import (
    FAINT,
    HEAD,
    INK,
    MARGIN,
    NOTE,
    PAPER,
    TEXT,
    TITLE,
    apply_colormap,
    draw_title,
    fit_text,
    load_font,
    overlay_heat,
    resize_picture,
    shorten_name,
)
from veduta.reporting.pictures.sheets import (
    Row,
    draw_feature_map_sheet,
    draw_kernel_sheet,
    select_strongest_maps,
)
from veduta.runtime.disk import write_atomically
from veduta.tracking.text import make_visible

LARGE, SMALL = 336, 168  # pixels of a picture's side in an overlay, and on the sheet
GAP, TILE_GAP = 4, 24  # pixels between image and heat map, and between tiles
LINE_HEIGHT = 18
MAX_COLUMNS, MAX_TILES = 3, 60  # of the sheet of heat maps
MAX_ROWS = 24  # of the sheet of feature maps
OCCLUSION_SUBTITLE = "occlusion: drop of the probability while a gray patch hides the region"
WRONG = "#b3261e"  # text color of a wrong label, which the text says too


def write_explanation_pictures(
    folder: Path, explainer: Explainer, explanations: Iterator[ImageExplanation]
) -> None:
    """Write an overlay per image, then `explain.png`, `maps.png` and `kernels.png`.

    Args:
        folder: where to write; overlays are in `overlays/`.
        explainer: what explains the images.
        explanations: of all images; only as many are held in memory as the sheets show.
    """
    (folder / "overlays").mkdir()
    tiles: list[Image.Image] = []
    rows: list[Row] = []
    count = 0
    for count, explanation in enumerate(explanations, start=1):
        _write_png(draw_overlay(explanation), folder / explanation.overlay)
        if count <= MAX_TILES:
            tiles.append(draw_tile(explanation, SMALL))
        if explanation.maps is not None and len(rows) < MAX_ROWS:
            rows.append(
                select_strongest_maps(explanation.label, explanation.pixels, explanation.maps)
            )
    if tiles:
        _write_png(_draw_heat_map_sheet(tiles, explainer, count), folder / "explain.png")
    if rows and explainer.layer:
        _write_png(draw_feature_map_sheet(rows, explainer.layer), folder / "maps.png")
    if explainer.kernels is not None:
        _write_png(draw_kernel_sheet(explainer.kernels), folder / "kernels.png")


def draw_overlay(explanation: ImageExplanation) -> Image.Image:
    """Draw the large tile of an image with a margin."""
    tile = draw_tile(explanation, LARGE)
    picture = Image.new("RGB", (tile.width + 2 * MARGIN, tile.height + 2 * MARGIN), PAPER)
    picture.paste(tile, (MARGIN, MARGIN))
    return picture


def draw_tile(explanation: ImageExplanation, side: int) -> Image.Image:
    """Draw an image and its heat map side by side, with label, file name and notes below."""
    picture = Image.new("RGB", (2 * side + GAP, side + 6 + 2 * LINE_HEIGHT), PAPER)
    overlay = overlay_heat(explanation.pixels, explanation.heat)
    picture.paste(resize_picture(explanation.pixels, side), (0, 0))
    picture.paste(resize_picture(overlay, side), (side + GAP, 0))
    draw = ImageDraw.Draw(picture)
    label = make_visible(f"{explanation.label} {explanation.probability:.1%}")
    label = fit_text(label, 3 * side // 2, TEXT)
    draw.text((0, side + 6), label, INK, load_font(TEXT))
    width = picture.width - round(load_font(TEXT).getlength(label)) - TILE_GAP
    name = fit_text(make_visible(explanation.sample.path.name), width)
    draw.text((picture.width, side + 9), name, FAINT, load_font(NOTE), anchor="ra")
    is_wrong = explanation.true_label not in {None, explanation.label}
    notes = fit_text(make_visible(_describe(explanation)), picture.width)
    color = WRONG if is_wrong else FAINT
    draw.text((0, side + 6 + LINE_HEIGHT), notes, color, load_font(NOTE))
    return picture


def _draw_heat_map_sheet(tiles: list[Image.Image], explainer: Explainer, count: int) -> Image.Image:
    """Draw all tiles below a title and a legend of the colors."""
    columns = min(MAX_COLUMNS, len(tiles))
    column_width, row_height = tiles[0].width + TILE_GAP, tiles[0].height + TILE_GAP
    width = max(columns * column_width - TILE_GAP, 2 * LARGE) + 2 * MARGIN
    picture = Image.new("RGB", (width, HEAD + -(-len(tiles) // columns) * row_height), PAPER)
    layer, options = explainer.layer, explainer.options
    uses_gradcam = options.method == GRADCAM and layer is not None
    method = f"Grad-CAM at {layer.name}" if uses_gradcam and layer else OCCLUSION_SUBTITLE
    target = shorten_name(options.target) if options.target else "the predicted class"
    omission = f", the first {len(tiles)} of {count} images" if count > len(tiles) else ""
    draw_title(picture, f"Evidence for {target}", f"{method}{omission}")
    _draw_legend(picture)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        picture.paste(tile, (MARGIN + column * column_width, HEAD + row * row_height))
    return picture


def _draw_legend(picture: Image.Image) -> None:
    """Draw a strip of the colors of the heat map at the right of the title."""
    right, top, width = picture.width - MARGIN, MARGIN + TITLE + 8, 120
    strip = np.broadcast_to(
        apply_colormap(np.linspace(0, 1, width, dtype=np.float32)), (12, width, 3)
    )
    font = load_font(NOTE)
    left = right - round(font.getlength("most")) - 6 - width
    picture.paste(Image.fromarray(np.ascontiguousarray(strip)), (left, top))
    draw = ImageDraw.Draw(picture)
    draw.text((left - 6, top + 6), "none", FAINT, font, anchor="rm")
    draw.text((left + width + 6, top + 6), "most", FAINT, font, anchor="lm")


def _describe(explanation: ImageExplanation) -> str:
    """Describe whether the label is correct, and what the heat map is for."""
    notes = []
    if explanation.true_label is not None:
        is_correct = explanation.true_label == explanation.label
        notes.append("correct" if is_correct else f"wrong: the folder is {explanation.true_label}")
    if explanation.target != explanation.label:
        notes.append(f"heat map for {explanation.target}, {explanation.target_probability:.1%}")
    if not explanation.heat.any():
        notes.append("no region supports the class")
    elif explanation.largest_drop is not None:
        notes.append(f"drop of up to {100 * explanation.largest_drop:.1f} percentage points")
    return "; ".join(notes)


def _write_png(picture: Image.Image, path: Path) -> None:
    content = BytesIO()
    picture.save(content, format="PNG")  # `optimize` saves 2 % and takes three times as long
    write_atomically(path, content.getvalue())
