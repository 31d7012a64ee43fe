"""Pictures of heat: read without colour, in the right place, with the right words."""

from pathlib import Path

import numpy as np
import pytest

from veduta.data.sample import Sample
from veduta.inference.explainer import Explained
from veduta.reporting.pictures.drawing import Array, coloured, laid_over, sized
from veduta.reporting.pictures.heat_maps import LARGE, MARGIN, SMALL, WRONG, overlay, tile
from veduta.reporting.pictures.sheets import STRONGEST, kernel_sheet, strongest

SIZE = 8


def explained(
    heat: Array | None = None, *, truth: str | None = "a", name: str = "x.png"
) -> Explained:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    heat = np.eye(SIZE, dtype=np.float32) if heat is None else heat
    sample = Sample(Path(name), name, None, None)
    return Explained(
        1, sample, pixels, truth, "a", 0.9, "b", 0.1, heat=heat, drop=0.2, maps=None
    )  # fmt: skip


def lightness(pixels: Array) -> Array:
    """CIE L* of sRGB colours from 0 to 255."""
    share = pixels / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_more_heat_is_lighter_all_the_way() -> None:
    steps = np.linspace(0, 1, 33, dtype=np.float32)
    assert (np.diff(lightness(coloured(steps).astype(float))) > 0.8).all()


def test_heat_lies_on_the_image_in_grey() -> None:
    pixels = np.full((2, 2, 3), (200, 100, 0), np.uint8)
    heat = np.array([[0, 1], [0, 0]], np.float32)
    found = laid_over(pixels, heat).astype(int)
    grey = round(0.299 * 200 + 0.587 * 100)
    np.testing.assert_allclose(found[0, 0], 0.45 * grey + 0.55 * coloured(heat)[0, 0], atol=1)
    np.testing.assert_allclose(found[0, 1], 0.45 * grey + 0.55 * coloured(heat)[0, 1], atol=1)
    assert (found[0, 1] > found[0, 0]).all()


def test_image_and_heat_stand_side_by_side() -> None:
    one = explained()
    drawn = np.asarray(tile(one, SMALL))
    np.testing.assert_array_equal(drawn[:SMALL, :SMALL], np.asarray(sized(one.pixels, SMALL)))
    over = np.asarray(sized(laid_over(one.pixels, one.heat), SMALL))
    np.testing.assert_array_equal(drawn[:SMALL, -SMALL:], over)
    large = np.asarray(overlay(one))
    inside = large[MARGIN : MARGIN + LARGE, MARGIN : MARGIN + LARGE]
    np.testing.assert_array_equal(inside, np.asarray(sized(one.pixels, LARGE)))


@pytest.mark.parametrize(("truth", "red"), [("a", False), ("b", True), (None, False)])
def test_a_wrong_label_is_marked(truth: str | None, red: bool) -> None:
    words = np.asarray(tile(explained(truth=truth), LARGE))[LARGE + 6 :].astype(int)
    ink = np.array([int(WRONG[place : place + 2], 16) for place in (1, 3, 5)])
    assert bool((np.abs(words - ink).sum(-1) < 60).any()) == red


def test_names_of_any_kind_leave_the_pictures_where_they_are() -> None:
    plain = tile(explained(), SMALL)
    for name in ("x" * 300, "a\nb", "\udcff", "\N{GRINNING FACE}\N{RIGHT-TO-LEFT OVERRIDE}a", ""):
        assert tile(explained(name=name), SMALL).size == plain.size


def test_the_strongest_maps_stand_first_each_by_itself() -> None:
    maps = np.zeros((20, 2, 2), np.float32)
    maps[:, 0, 0] = np.arange(20)
    row = strongest("a", explained().pixels, maps)
    assert row.notes == ("", *(f"map {number}" for number in range(19, 19 - STRONGEST, -1)))
    least, most = coloured(np.array([0.0, 1.0], np.float32))
    for picture in row.pixels[1:]:
        assert (picture[: SIZE // 2, : SIZE // 2] == most).all()
        assert (picture[SIZE // 2 :] == least).all()


def test_kernels_are_squares_of_their_weights() -> None:
    kernels = np.random.default_rng(0).random((10, 4, 4, 3)).astype(np.float32)
    drawn = np.asarray(kernel_sheet(kernels))
    expected = (255 * kernels[9]).round().astype(np.uint8).repeat(16, 0).repeat(16, 1)
    place = drawn[-MARGIN - 64 : -MARGIN, MARGIN + 64 + 4 : MARGIN + 2 * 64 + 4]
    np.testing.assert_array_equal(place, expected)
