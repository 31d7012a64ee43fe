"""Heat maps: colors, positions and text of overlays and sheets."""

from pathlib import Path

import numpy as np
import pytest

from veduta.data.sample import Sample
from veduta.inference.explainer import ImageExplanation
from veduta.reporting.pictures.drawing import (
    MARGIN,
    apply_colormap,
    overlay_heat,
    resize_picture,
)
from veduta.reporting.pictures.heat_maps import LARGE, SMALL, WRONG, draw_overlay, draw_tile
from veduta.reporting.pictures.sheets import MAX_MAPS, draw_kernel_sheet, select_strongest_maps
from veduta.types import Float32Array, FloatArray

SIZE = 8


def build_explanation(
    heat: Float32Array | None = None, *, true_label: str | None = "a", name: str = "x.png"
) -> ImageExplanation:
    """Return an explanation of random pixels, with a diagonal heat map unless given."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    heat = np.eye(SIZE, dtype=np.float32) if heat is None else heat
    sample = Sample(Path(name), name, None, None)
    return ImageExplanation(
        number=1,
        sample=sample,
        pixels=pixels,
        true_label=true_label,
        label="a",
        probability=0.9,
        target="b",
        target_probability=0.1,
        heat=heat,
        largest_drop=0.2,
        maps=None,
    )


def compute_lightness(pixels: FloatArray) -> FloatArray:
    """Return CIE L* of sRGB colors from 0 to 255."""
    values = pixels / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    lightness: FloatArray = np.where(
        luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance
    )
    return lightness


def test_lightness_increases_with_heat() -> None:
    steps = np.linspace(0, 1, 33, dtype=np.float32)
    assert (np.diff(compute_lightness(apply_colormap(steps).astype(float))) > 0.8).all()


def test_the_overlay_blends_heat_with_the_image_in_gray() -> None:
    pixels = np.full((2, 2, 3), (200, 100, 0), np.uint8)
    heat = np.array([[0, 1], [0, 0]], np.float32)
    overlay = overlay_heat(pixels, heat).astype(int)
    gray = round(0.299 * 200 + 0.587 * 100)
    np.testing.assert_allclose(
        overlay[0, 0], 0.45 * gray + 0.55 * apply_colormap(heat)[0, 0], atol=1
    )
    np.testing.assert_allclose(
        overlay[0, 1], 0.45 * gray + 0.55 * apply_colormap(heat)[0, 1], atol=1
    )
    assert (overlay[0, 1] > overlay[0, 0]).all()


def test_image_and_overlay_are_side_by_side() -> None:
    explanation = build_explanation()
    drawn = np.asarray(draw_tile(explanation, SMALL))
    np.testing.assert_array_equal(
        drawn[:SMALL, :SMALL], np.asarray(resize_picture(explanation.pixels, SMALL))
    )
    over = np.asarray(resize_picture(overlay_heat(explanation.pixels, explanation.heat), SMALL))
    np.testing.assert_array_equal(drawn[:SMALL, -SMALL:], over)
    large = np.asarray(draw_overlay(explanation))
    inside = large[MARGIN : MARGIN + LARGE, MARGIN : MARGIN + LARGE]
    np.testing.assert_array_equal(inside, np.asarray(resize_picture(explanation.pixels, LARGE)))


@pytest.mark.parametrize(("true_label", "is_red"), [("a", False), ("b", True), (None, False)])
def test_a_wrong_label_is_marked(true_label: str | None, is_red: bool) -> None:
    text = np.asarray(draw_tile(build_explanation(true_label=true_label), LARGE))[
        LARGE + 6 :
    ].astype(int)
    color = np.array([int(WRONG[start : start + 2], 16) for start in (1, 3, 5)])
    assert bool((np.abs(text - color).sum(-1) < 60).any()) == is_red


def test_unusual_names_do_not_change_the_size_of_the_tile() -> None:
    plain = draw_tile(build_explanation(), SMALL)
    for name in ("x" * 300, "a\nb", "\udcff", "\N{GRINNING FACE}\N{RIGHT-TO-LEFT OVERRIDE}a", ""):
        assert draw_tile(build_explanation(name=name), SMALL).size == plain.size


def test_maps_are_sorted_by_mean_and_scaled_one_by_one() -> None:
    maps = np.zeros((20, 2, 2), np.float32)
    maps[:, 0, 0] = np.arange(20)
    row = select_strongest_maps("a", build_explanation().pixels, maps)
    assert row.notes == ("", *(f"map {number}" for number in range(19, 19 - MAX_MAPS, -1)))
    darkest, lightest = apply_colormap(np.array([0.0, 1.0], np.float32))
    for picture in row.pixels[1:]:
        assert (picture[: SIZE // 2, : SIZE // 2] == lightest).all()
        assert (picture[SIZE // 2 :] == darkest).all()


def test_kernels_are_drawn_as_enlarged_squares() -> None:
    kernels = np.random.default_rng(0).random((10, 4, 4, 3)).astype(np.float32)
    drawn = np.asarray(draw_kernel_sheet(kernels))
    expected = (255 * kernels[9]).round().astype(np.uint8).repeat(16, 0).repeat(16, 1)
    square = drawn[-MARGIN - 64 : -MARGIN, MARGIN + 64 + 4 : MARGIN + 2 * 64 + 4]
    np.testing.assert_array_equal(square, expected)
