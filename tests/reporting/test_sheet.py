"""A sheet of pictures: the right pixels in the right places, and names that fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veduta.diagnostics.preview import Row, Sheet
from veduta.reporting.pictures.sheets import (
    BREAK,
    LARGEST,
    SHEET_GAP,
    SHEET_MARGIN,
    draw,
    write_sheets,
)


def sheet(size: int = 8, label: str = "a", note: str = "") -> Sheet:
    pixels = np.random.default_rng(0).integers(0, 200, (3, 2, size, size, 3), np.uint8)
    labels = (label, label, "b")
    rows = tuple(Row(name, one, ("", note)) for name, one in zip(labels, pixels, strict=True))
    return Sheet("crop", "8 x 8 pixels", ("image", "epoch 1"), rows)


def test_every_picture_is_there_enlarged_by_a_whole_number() -> None:
    drawn = np.asarray(draw(sheet()))
    side = 112  # 14 times 8
    right = drawn.shape[1] - SHEET_MARGIN
    bottom = drawn.shape[0] - SHEET_MARGIN
    tops = [
        bottom - 3 * side - 2 * SHEET_GAP - BREAK,
        bottom - 2 * side - SHEET_GAP - BREAK,
        bottom - side,
    ]
    for row, top in zip(sheet().rows, tops, strict=True):
        for pixels, left in zip(
            row.pixels, (right - 2 * side - SHEET_GAP - BREAK, right - side), strict=True
        ):
            shown = drawn[top : top + side, left : left + side]
            np.testing.assert_array_equal(shown, pixels.repeat(14, axis=0).repeat(14, axis=1))


@pytest.mark.parametrize(("size", "side"), [(32, 128), (128, 128), (300, LARGEST)])
def test_large_pictures_are_made_smaller(size: int, side: int) -> None:
    widths = [draw(sheet(size)).width - draw(sheet(8)).width]
    assert widths == [2 * (side - 112)]


def test_long_names_and_notes_leave_the_pictures_where_they_are() -> None:
    long = draw(sheet(label="x\n" * 300))
    assert long.width < draw(sheet()).width + 400
    noted = draw(sheet(note="+ 48% " + "street " * 30))
    assert noted.width == draw(sheet()).width
    assert noted.height > draw(sheet()).height


def test_files_are_pictures_with_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (one,) = write_sheets(tmp_path / "one", [sheet()])
    both = write_sheets(tmp_path / "two", [sheet(), sheet(16)])
    assert [path.name for path in both] == ["preview-1.png", "preview-2.png"]
    assert one.read_bytes() == both[0].read_bytes()
    np.testing.assert_array_equal(np.asarray(Image.open(one)), np.asarray(draw(sheet())))
