"""A sheet of pictures: pixels, positions, and names that are too long."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veduta.reporting.pictures.sheets import (
    BREAK,
    MAX_SIDE,
    SHEET_GAP,
    SHEET_MARGIN,
    Row,
    Sheet,
    draw_sheet,
    write_sheets,
)


def build_sheet(size: int = 8, label: str = "a", note: str = "") -> Sheet:
    pixels = np.random.default_rng(0).integers(0, 200, (3, 2, size, size, 3), np.uint8)
    labels = (label, label, "b")
    rows = tuple(
        Row(name, pictures, ("", note)) for name, pictures in zip(labels, pixels, strict=True)
    )
    return Sheet("crop", "8 x 8 pixels", ("image", "epoch 1"), rows)


def test_small_pictures_are_enlarged_by_an_integer_factor() -> None:
    drawn = np.asarray(draw_sheet(build_sheet()))
    side = 112  # 14 times 8
    right = drawn.shape[1] - SHEET_MARGIN
    bottom = drawn.shape[0] - SHEET_MARGIN
    tops = [
        bottom - 3 * side - 2 * SHEET_GAP - BREAK,
        bottom - 2 * side - SHEET_GAP - BREAK,
        bottom - side,
    ]
    for row, top in zip(build_sheet().rows, tops, strict=True):
        for pixels, left in zip(
            row.pixels, (right - 2 * side - SHEET_GAP - BREAK, right - side), strict=True
        ):
            picture = drawn[top : top + side, left : left + side]
            np.testing.assert_array_equal(picture, pixels.repeat(14, axis=0).repeat(14, axis=1))


@pytest.mark.parametrize(("size", "side"), [(32, 128), (128, 128), (300, MAX_SIDE)])
def test_large_pictures_are_reduced(size: int, side: int) -> None:
    widths = [draw_sheet(build_sheet(size)).width - draw_sheet(build_sheet(8)).width]
    assert widths == [2 * (side - 112)]


def test_long_names_and_notes_are_shortened() -> None:
    long = draw_sheet(build_sheet(label="x\n" * 300))
    assert long.width < draw_sheet(build_sheet()).width + 400
    noted = draw_sheet(build_sheet(note="+ 48% " + "street " * 30))
    assert noted.width == draw_sheet(build_sheet()).width
    assert noted.height > draw_sheet(build_sheet()).height


def test_files_are_written_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (one,) = write_sheets(tmp_path / "one", [build_sheet()])
    both = write_sheets(tmp_path / "two", [build_sheet(), build_sheet(16)])
    assert [path.name for path in both] == ["preview-1.png", "preview-2.png"]
    assert one.read_bytes() == both[0].read_bytes()
    np.testing.assert_array_equal(
        np.asarray(Image.open(one)), np.asarray(draw_sheet(build_sheet()))
    )
