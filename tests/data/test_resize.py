"""Resizing: against Pillow, torchvision's procedure and numbers worked by hand."""

import numpy as np
import pytest
from PIL import Image

from veduta.data.pixels import Resize


def draw_pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_of_that_size_is_unchanged() -> None:
    pixels = draw_pixels(16, 16)
    for fit in ("squash", "crop"):
        assert np.array_equal(Resize(16, fit=fit)(pixels), pixels)


@pytest.mark.parametrize("filter_", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize("shape", [(40, 30), (5, 9), (1, 300)])
def test_squash_equals_the_resize_of_pillow(filter_: str, shape: tuple[int, int]) -> None:
    pixels = draw_pixels(*shape)
    expected = Image.fromarray(pixels).resize((16, 16), Image.Resampling[filter_.upper()])
    assert np.array_equal(Resize(16, filter_)(pixels), np.asarray(expected))


def test_reducing_averages_pixels() -> None:
    chessboard = np.indices((32, 32)).sum(0) % 2 * 255
    pixels = np.repeat(chessboard[..., None], 3, axis=2).astype(np.uint8)
    assert np.abs(Resize(4, "box")(pixels).astype(int) - 127).max() <= 1


def test_crop_by_hand() -> None:
    columns = np.repeat(
        np.array([[0, 10, 20, 30, 40, 50]]), 4, axis=0
    )  # 4 x 6: columns 1 to 4 remain
    pixels = np.repeat(columns[..., None], 3, axis=2).astype(np.uint8)
    assert Resize(4, fit="crop")(pixels)[0, :, 0].tolist() == [10, 20, 30, 40]
    assert Resize(2, "box", "crop")(pixels)[:, :, 0].tolist() == [[15, 35], [15, 35]]
    assert Resize(2, "box")(pixels)[0, :, 0].tolist() == [10, 40]


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (61, 90)])
def test_crop_equals_scaling_the_shorter_side_and_cropping_the_center(
    shape: tuple[int, int],
) -> None:
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    pixels = np.stack([x, y, x + y], -1).astype(np.uint8)
    scale = 30 / min(shape)
    width, height = round(shape[1] * scale), round(shape[0] * scale)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - 30) / 2), round((height - 30) / 2)
    expected = np.asarray(image.crop((left, top, left + 30, top + 30))).astype(int)
    resized = Resize(30, "bilinear", "crop")(pixels).astype(int)
    assert np.abs(resized - expected)[2:-2, 2:-2].max() <= 2


def test_a_long_strip_is_resized_to_the_same_size() -> None:
    assert Resize(224, fit="crop")(draw_pixels(1, 20000)).shape == (224, 224, 3)
    assert Resize(224)(draw_pixels(20000, 1)).shape == (224, 224, 3)
