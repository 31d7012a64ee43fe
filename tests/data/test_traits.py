"""Traits and perceptual hashes of images, against SciPy and by hand."""

import io
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from PIL import Image

from veduta.data.decode import DecodedFile, decode_with_properties
from veduta.data.traits import (
    BITS,
    HASHED_SIDE,
    MAX_SIDE,
    RECORD,
    Traits,
    build_averaging_matrix,
    compute_perceptual_hashes,
    compute_sharpness,
    compute_trait_rows,
    load_traits,
    measure_partial_traits,
    open_trait_store,
    parse_trait_rows,
)
from veduta.types import FloatArray, PixelArray

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encode(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def measure_alone(file: DecodedFile) -> Traits:
    """Return the traits of a file that is measured in a batch of its own."""
    (traits,) = parse_trait_rows(np.stack(compute_trait_rows([measure_partial_traits(file)])))
    return traits


def measure(data: bytes) -> Traits:
    return measure_alone(decode_with_properties(data))


def test_identical_pixels_have_equal_digests_in_all_formats() -> None:
    image = Image.fromarray(NOISE)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise by 90 degrees
    rotated = image.transpose(Image.Transpose.ROTATE_90)
    files = [
        encode(image, "PNG"),
        encode(image, "PNG", compress_level=0),
        encode(image, "BMP"),
        encode(rotated, "PNG", exif=exif),
    ]
    assert len(set(files)) == 4
    assert len({measure(data).pixel_digest for data in files}) == 1
    assert len({measure(data).perceptual_hash for data in files}) == 1


def test_other_pixels_and_shapes_have_other_digests() -> None:
    changed = NOISE.copy()
    changed[-1, -1, 2] ^= 1
    images = [NOISE, changed, NOISE.reshape(30, 20, 3), NOISE[::-1]]
    files = [encode(Image.fromarray(pixels), "PNG") for pixels in images]
    assert len({measure(data).pixel_digest for data in files}) == 4


def test_properties_of_the_file() -> None:
    gray = measure(encode(Image.fromarray(NOISE[..., 0]), "JPEG"))
    assert (gray.format, gray.mode, gray.width, gray.height) == ("JPEG", "L", 30, 20)
    flags = (gray.is_16_bit, gray.has_transparency, gray.is_animated, gray.is_blank)
    assert flags == (False,) * 4
    gray_16_bit = measure(encode(Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257), "PNG"))
    assert (gray_16_bit.is_16_bit, gray_16_bit.mode) == (True, "I;16")
    transparent = measure(encode(Image.fromarray(NOISE).convert("RGBA"), "WEBP"))
    assert transparent.format == "WEBP"
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    for format_ in ("GIF", "PNG", "WEBP", "TIFF"):
        animated = encode(frames[0], format_, save_all=True, append_images=frames[1:])
        assert measure(animated).is_animated, format_
        assert not measure(encode(frames[0], format_)).is_animated, format_


def test_colors_of_16_bits_are_recognized() -> None:
    rows = b"".join(b"\0" + bytes(6 * 4) for _ in range(3))  # 4 x 3 pixels, RGB, all black

    def build_chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = (4).to_bytes(4, "big") + (3).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    png = b"\x89PNG\r\n\x1a\n" + build_chunk(b"IHDR", header)
    png += build_chunk(b"IDAT", zlib.compress(rows)) + build_chunk(b"IEND", b"")
    traits = measure(png)
    assert (traits.mode, traits.is_16_bit, traits.is_blank) == ("RGB", True, True)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (40, 7), (300, 500)])
@pytest.mark.parametrize("content", ["noise", "flat"])
def test_the_store_returns_the_traits_that_were_written(
    tmp_path: Path, size: tuple[int, int], content: str
) -> None:
    pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    data = encode(Image.fromarray(pixels if content == "noise" else pixels * 0 + 9), "PNG")
    store = open_trait_store(tmp_path)
    with store.fill(["key"]) as block:
        block.write(0, *compute_trait_rows([measure_partial_traits(decode_with_properties(data))]))
    assert load_traits(store, ["key"]) == [measure(data)]
    assert parse_trait_rows(np.empty((0, RECORD.size), np.uint8)) == []


def test_sharpness_is_the_relative_variance_of_scipys_laplacian() -> None:
    gray = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
    edges = scipy.ndimage.laplace(gray.astype(float))[1:-1, 1:-1]
    blurred = scipy.ndimage.gaussian_filter(gray.astype(float), 3).astype(np.uint8)
    dim, flat = (gray // 4).astype(np.uint8), np.full((40, 50), 7, np.uint8)
    sharpness = compute_sharpness(np.stack([gray, blurred, dim, flat]))
    assert sharpness[0] == pytest.approx(edges.var() / gray.var(), rel=1e-4)
    assert sharpness[1] < sharpness[0] / 50
    assert sharpness[2] == pytest.approx(sharpness[0], rel=0.05)
    assert sharpness[3] == math.inf
    assert compute_sharpness(gray[None, :15]) == math.inf


def test_traits_do_not_depend_on_the_other_images_of_a_batch() -> None:
    sizes = [(128, 128), (40, 50), (300, 200), (7, 9), (128, 200), (1, 1)]
    images = [RNG.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes * 3]
    files = [decode_with_properties(encode(Image.fromarray(pixels), "PNG")) for pixels in images]
    rows = compute_trait_rows([measure_partial_traits(file) for file in files])
    assert parse_trait_rows(np.stack(rows)) == [measure_alone(file) for file in files]


def test_a_thumbnail_holds_the_means_of_its_cells() -> None:
    pixels = RNG.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    thumbnail = np.frombuffer(measure(encode(Image.fromarray(pixels), "PNG")).thumbnail, np.uint8)
    means = pixels.reshape(8, 8, 8, 16, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(thumbnail.reshape(8, 8, 3), means, atol=0.5001)


def test_brightness_contrast_and_blank_images() -> None:
    halves = np.zeros((60, 60, 3), np.uint8)
    halves[:, 30:] = 200
    traits = measure(encode(Image.fromarray(halves), "PNG"))
    assert (traits.brightness, traits.contrast, traits.is_blank) == (100, 100, False)
    assert measure(encode(Image.new("RGB", (50, 50), (9, 8, 7)), "JPEG")).is_blank
    chessboard = np.indices((300, 300)).sum(0) % 2 * 255
    chessboard = np.repeat(chessboard[..., None], 3, axis=2).astype(np.uint8)
    fine = measure(encode(Image.fromarray(chessboard), "PNG"))
    assert not fine.is_blank, f"only the version reduced to {MAX_SIDE} pixels has one color"


def hash_image(gray: PixelArray) -> int:
    return int(compute_perceptual_hashes(gray[None])[0])


def hash_levels(levels: FloatArray) -> int:
    return hash_image(levels.clip(0, 255).astype(np.uint8))


def test_bits_are_set_for_the_lowest_frequencies_above_their_median() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (HASHED_SIDE, HASHED_SIDE), dtype=np.uint8)
    spectrum = np.round(scipy.fft.dctn(gray.astype(float), type=2) / 4)  # SciPy doubles per axis
    frequencies = sorted(np.ndindex(HASHED_SIDE, HASHED_SIDE), key=lambda f: (f[0] + f[1], f[0]))
    lowest = np.array([spectrum[frequency] for frequency in frequencies[1 : BITS + 1]])
    expected = int("".join("1" if value > np.median(lowest) else "0" for value in lowest), 2)
    assert hash_image(gray) == expected


def test_brightness_contrast_and_noise_change_few_bits() -> None:
    generator = np.random.default_rng(1)
    blocks = generator.integers(40, 180, (6, 6)).astype(float)
    gray = np.kron(blocks, np.ones((6, 6)))[:HASHED_SIDE, :HASHED_SIDE]
    other = np.kron(generator.integers(40, 180, (6, 6)).astype(float), np.ones((6, 6)))
    original_hash = hash_levels(gray)
    for changed in (gray * 0.7, gray + 60, gray + generator.normal(0, 2, gray.shape)):
        assert (original_hash ^ hash_levels(changed)).bit_count() <= 6
    other_hash = hash_levels(other[:HASHED_SIDE, :HASHED_SIDE])
    assert (original_hash ^ other_hash).bit_count() > 16


@pytest.mark.parametrize(("side", "cells"), [(32, 32), (128, 32), (50, 8), (5, 8), (1, 3)])
def test_the_averaging_matrix_equals_averages_of_finer_pixels(side: int, cells: int) -> None:
    values = np.random.default_rng(2).normal(size=side)
    means = np.repeat(values, cells).reshape(cells, side).mean(axis=1)
    np.testing.assert_allclose(build_averaging_matrix(side, cells) @ values, means, atol=1e-6)
