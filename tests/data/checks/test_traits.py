"""What is kept of an image: the same for the same pixels, and the same after it was kept."""

import io
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from veduta.data.decode import Picture, picture_of
from veduta.data.traits import (
    MOST_SIDE,
    RECORD,
    Traits,
    from_rows,
    known_traits,
    rows_of,
    sharpness,
    sight_of,
    trait_store,
)

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def traits_of(picture: Picture) -> Traits:
    """What is kept of a picture that is looked at alone."""
    (found,) = from_rows(np.stack(rows_of([sight_of(picture)])))
    return found


def of(data: bytes) -> Traits:
    return traits_of(picture_of(data))


def test_identical_pixels_are_known_however_they_are_written() -> None:
    image = Image.fromarray(NOISE)
    exif = Image.Exif()
    exif[0x0112] = 6  # it shall be turned right by a quarter
    turned = image.transpose(Image.Transpose.ROTATE_90)
    files = [
        saved(image, "PNG"),
        saved(image, "PNG", compress_level=0),
        saved(image, "BMP"),
        saved(turned, "PNG", exif=exif),
    ]
    assert len(set(files)) == 4
    assert len({of(data).pixels for data in files}) == 1
    assert len({of(data).look for data in files}) == 1


def test_other_pixels_and_other_shapes_are_others() -> None:
    changed = NOISE.copy()
    changed[-1, -1, 2] ^= 1
    arrays = [NOISE, changed, NOISE.reshape(30, 20, 3), NOISE[::-1]]
    assert len({of(saved(Image.fromarray(one), "PNG")).pixels for one in arrays}) == 4


def test_what_kind_of_file_it_was() -> None:
    found = of(saved(Image.fromarray(NOISE[..., 0]), "JPEG"))
    assert (found.format, found.mode, found.width, found.height) == ("JPEG", "L", 30, 20)
    assert (found.deep, found.transparent, found.animated, found.blank) == (False,) * 4
    deep = of(saved(Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257), "PNG"))
    assert (deep.deep, deep.mode) == (True, "I;16")
    clear = of(saved(Image.fromarray(NOISE).convert("RGBA"), "WEBP"))
    assert clear.format == "WEBP"
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    moving = {"save_all": True, "append_images": frames[1:]}
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        assert of(saved(frames[0], kind, **moving)).animated, kind
        assert not of(saved(frames[0], kind)).animated, kind


def test_sixteen_bits_of_colour_are_noticed() -> None:
    rows = b"".join(b"\0" + bytes(6 * 4) for _ in range(3))  # 4 x 3 pixels, RGB, all black

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = (4).to_bytes(4, "big") + (3).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    found = of(png + chunk(b"IEND", b""))
    assert (found.mode, found.deep, found.blank) == ("RGB", True, True)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (40, 7), (300, 500)])
@pytest.mark.parametrize("kind", ["noise", "flat"])
def test_traits_come_back_from_the_store_as_they_went(
    tmp_path: Path, size: tuple[int, int], kind: str
) -> None:
    pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    data = saved(Image.fromarray(pixels if kind == "noise" else pixels * 0 + 9), "PNG")
    store = trait_store(tmp_path)
    with store.fill(["key"]) as block:
        block.write(0, *rows_of([sight_of(picture_of(data))]))
    assert known_traits(store, ["key"]) == [of(data)]
    assert from_rows(np.empty((0, RECORD.size), np.uint8)) == []


def test_sharpness_is_the_variance_of_scipys_laplacian() -> None:
    grey = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
    edges = scipy.ndimage.laplace(grey.astype(float))[1:-1, 1:-1]
    blurred = scipy.ndimage.gaussian_filter(grey.astype(float), 3).astype(np.uint8)
    dim, flat = (grey // 4).astype(np.uint8), np.full((40, 50), 7, np.uint8)
    found = sharpness(np.stack([grey, blurred, dim, flat]))
    assert found[0] == pytest.approx(edges.var() / grey.var(), rel=1e-4)
    assert found[1] < found[0] / 50
    assert found[2] == pytest.approx(found[0], rel=0.05)
    assert found[3] == math.inf
    assert sharpness(grey[None, :15]) == math.inf


def test_an_image_is_seen_in_company_as_alone() -> None:
    sizes = [(128, 128), (40, 50), (300, 200), (7, 9), (128, 200), (1, 1)]
    arrays = [RNG.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes * 3]
    pictures = [picture_of(saved(Image.fromarray(one), "PNG")) for one in arrays]
    together = from_rows(np.stack(rows_of([sight_of(one) for one in pictures])))
    assert together == [traits_of(one) for one in pictures]


def test_a_thumbnail_is_the_means_of_its_parts() -> None:
    pixels = RNG.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    found = np.frombuffer(of(saved(Image.fromarray(pixels), "PNG")).thumbnail, np.uint8)
    means = pixels.reshape(8, 8, 8, 16, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found.reshape(8, 8, 3), means, atol=0.5001)


def test_brightness_contrast_and_blank() -> None:
    halves = np.zeros((60, 60, 3), np.uint8)
    halves[:, 30:] = 200
    found = of(saved(Image.fromarray(halves), "PNG"))
    assert (found.brightness, found.contrast, found.blank) == (100, 100, False)
    assert of(saved(Image.new("RGB", (50, 50), (9, 8, 7)), "JPEG")).blank
    chessboard = np.kron(np.indices((300, 300)).sum(0) % 2 * 255, np.ones((1, 1)))
    chessboard = np.repeat(chessboard[..., None], 3, axis=2).astype(np.uint8)
    fine = of(saved(Image.fromarray(chessboard), "PNG"))
    assert not fine.blank, f"seen at {MOST_SIDE} pixels it is grey; it is not of one colour"
