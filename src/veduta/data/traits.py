"""Traits: the file format, appearance and perceptual hash of an image, which the data checks use.

They are computed from the same decoding as the pixels and kept in the cache beside them, so that a
run on known images decodes none of them to check them.

The perceptual hash is that of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions" (2010): which of the lowest frequencies of a small gray image are above their median.
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from veduta.data.decode import DECODER, DecodedFile
from veduta.data.row_store import RowStore
from veduta.types import Float32Array, FloatArray, IndexArray, KeyArray, PixelArray

VERSION = 2  # grows when a trait of the same image changes
MAX_SIDE = 128  # pixels per side of the reduced image that brightness and sharpness are measured on
MIN_SIDE = 16  # pixels per side below which sharpness is undefined
BLANK_RANGE = 8  # largest range of the levels of each channel in a blank image
THUMBNAIL_SIDE = 8  # pixels

RECORD = struct.Struct(f"<32sQII8s8sB????fff{3 * THUMBNAIL_SIDE * THUMBNAIL_SIDE}s")
"""Binary form of `Traits`, in the order of its fields."""


@final
@dataclass(frozen=True, slots=True)
class Traits:
    """Properties of an image and its file.

    Attributes:
        pixel_digest: SHA-256 of size and decoded pixels, in hexadecimal: images with the same
            digest are identical, even if their files differ.
        perceptual_hash: 64 bits.
        width: pixels, after the EXIF orientation is applied.
        height: pixels, after the EXIF orientation is applied.
        format: of the file, by Pillow's name.
        mode: of the file, by Pillow's name.
        orientation: EXIF orientation of the file, 1 to 8.
        is_16_bit: whether the file has 16 bits per channel.
        has_transparency: whether the file has an alpha channel or a transparent color.
        is_animated: whether the file has more than one frame.
        is_blank: whether all pixels have one color.
        brightness: mean gray level, 0 to 255.
        contrast: standard deviation of the gray levels.
        sharpness: variance of the Laplacian over the variance, of the gray image reduced to
            at most `MAX_SIDE` pixels per side; infinite if the image is too small or has one level.
        thumbnail: `THUMBNAIL_SIDE` x `THUMBNAIL_SIDE` RGB pixels.
    """

    pixel_digest: str
    perceptual_hash: int
    width: int
    height: int
    format: str
    mode: str
    orientation: int
    is_16_bit: bool
    has_transparency: bool
    is_animated: bool
    is_blank: bool
    brightness: float
    contrast: float
    sharpness: float
    thumbnail: bytes


@final
@dataclass(frozen=True, slots=True)
class PartialTraits:
    """The traits that are measured image by image; the others are computed in batches.

    Threads that make many short NumPy calls on one image each would wait for one another.
    """

    values: tuple[object, ...]  # fields of `Traits` up to `is_blank`, without the perceptual hash
    reduced: PixelArray  # (height, width, 3), at most `MAX_SIDE` pixels per side


def measure_partial_traits(file: DecodedFile) -> PartialTraits:
    """Return the traits of one image, and a reduced image for the others."""
    pixels = np.ascontiguousarray(file.pixels)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height} {width} ".encode())
    digest.update(pixels.data)
    size = min(width, MAX_SIDE), min(height, MAX_SIDE)
    reduced = Image.fromarray(pixels).resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    values = (
        digest.digest(),
        width,
        height,
        file.format.encode(),
        file.mode.encode(),
        file.orientation,
        file.is_16_bit,
        file.has_transparency,
        file.is_animated,
        _is_blank(reduced, pixels),
    )
    return PartialTraits(values, np.asarray(reduced))


def compute_trait_rows(images: Sequence[PartialTraits]) -> list[PixelArray]:
    """Return the rows of the trait store; the row of an image does not depend on the others."""
    rows: dict[int, PixelArray] = {}
    for shape in sorted({image.reduced.shape for image in images}):
        indices = [index for index, image in enumerate(images) if image.reduced.shape == shape]
        measured = _measure(np.stack([images[index].reduced for index in indices]))
        for index, (perceptual_hash, *statistics) in zip(indices, measured, strict=True):
            pixel_digest, *values = images[index].values
            record = RECORD.pack(pixel_digest, perceptual_hash, *values, *statistics)
            rows[index] = np.frombuffer(record, np.uint8)
    return [rows[index] for index in range(len(images))]


def _measure(images: PixelArray) -> Iterator[tuple[int, float, float, float, bytes]]:
    """Yield hash, brightness, contrast, sharpness and thumbnail of each image of (n, H, W, 3)."""
    count, height, width, _ = images.shape
    strip = Image.frombuffer("RGB", (width, count * height), images)
    grays = np.asarray(strip.convert("L")).reshape(count, height, width)
    brightness, variance = _compute_moments(grays)
    return zip(
        compute_perceptual_hashes(grays).tolist(),
        brightness.tolist(),
        np.sqrt(variance).tolist(),
        compute_sharpness(grays).tolist(),
        map(bytes, _compute_thumbnails(images)),
        strict=True,
    )


def compute_sharpness(grays: PixelArray) -> FloatArray:
    """Return the variance of the Laplacian over the variance of each image.

    Args:
        grays: (n, height, width). The sharpness of images below `MIN_SIDE` pixels per side, and of
            images with one gray level, is undefined: the result is infinite.

    Returns:
        (n,).

    Reference: J. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000
    (LAPV), divided by the variance here, so that low contrast is not mistaken for blur.
    """
    if min(grays.shape[1:]) < MIN_SIDE:
        return np.full(len(grays), math.inf)
    levels = grays.astype(np.int16)
    edges = levels[:, :-2, 1:-1] + levels[:, 2:, 1:-1]
    edges += levels[:, 1:-1, :-2]
    edges += levels[:, 1:-1, 2:]
    edges -= 4 * levels[:, 1:-1, 1:-1]
    variance = _compute_moments(grays)[1]
    is_flat = variance == 0
    ratio = _compute_moments(edges)[1] / np.where(is_flat, 1, variance)
    return np.where(is_flat, math.inf, ratio)


def open_trait_store(cache_folder: Path) -> RowStore:
    """Return the cache of traits: one record per file, by the SHA-256 of the file."""
    spec = {"decoder": DECODER, "version": VERSION}
    return RowStore(cache_folder, "traits", spec, shape=(RECORD.size,), dtype="uint8")


def parse_trait_rows(rows: PixelArray) -> list[Traits]:
    """Return the traits that rows (n, bytes) of the store hold."""
    return [
        Traits(digest.hex(), perceptual_hash, width, height, _parse(format_), _parse(mode), *others)
        for digest, perceptual_hash, width, height, format_, mode, *others in RECORD.iter_unpack(
            rows.tobytes()
        )
    ]


def load_traits(store: RowStore, digests: Sequence[str]) -> list[Traits]:
    """Return the traits of files that are in the store, in the order of their digests."""
    return parse_trait_rows(store.load_rows(digests).take())


def _parse(padded: bytes) -> str:
    """Return the text of a zero-padded field."""
    return padded.rstrip(b"\0").decode()


def _compute_moments(values: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Return means and variances (n,) of integers (n, ...).

    Sums of integers are exact, so the result is the same on every machine.
    """
    wide = values.reshape(len(values), -1).astype(np.int32)
    count, total = wide.shape[1], wide.sum(axis=1, dtype=np.int64)
    wide *= wide
    squares = wide.sum(axis=1, dtype=np.int64)
    return total / count, (count * squares - total * total) / count**2


def _compute_thumbnails(images: PixelArray) -> PixelArray:
    """Return the means (n, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3) of the cells of a regular grid."""
    count, height, width, _ = images.shape
    lines = images.reshape(count, height, -1).astype(np.float32)
    rows = build_averaging_matrix(height, THUMBNAIL_SIDE) @ lines
    cells = build_averaging_matrix(width, THUMBNAIL_SIDE) @ rows.reshape(
        count, THUMBNAIL_SIDE, width, 3
    )
    return np.rint(cells).astype(np.uint8)


def _is_blank(reduced: Image.Image, pixels: PixelArray) -> bool:
    """Return whether an image has one color; for most images the reduced image rules it out."""
    ranges = cast("tuple[tuple[int, int], ...]", reduced.getextrema())  # one per channel
    if any(high - low > BLANK_RANGE for low, high in ranges):
        return False
    return bool(np.ptp(pixels, axis=(0, 1)).max() <= BLANK_RANGE)


# Own code, as imagehash hashes one image per call; here a batch is one matrix product.
HASHED_SIDE = 32  # pixels per side of the gray image
BITS = 64


def _list_lowest_frequencies() -> IndexArray:
    """Return the lowest (vertical, horizontal) frequencies (BITS, 2), without the mean."""
    vertical, horizontal = np.indices((HASHED_SIDE, HASHED_SIDE)).reshape(2, -1)
    lowest = np.lexsort((vertical, vertical + horizontal))[1 : BITS + 1]
    return np.stack([vertical[lowest], horizontal[lowest]], axis=1)


def _build_cosines(count: int) -> Float32Array:
    """Return the first rows (count, HASHED_SIDE) of the discrete cosine transform, type 2."""
    frequency, position = np.arange(count)[:, None], np.arange(HASHED_SIDE)
    return np.cos(np.pi / HASHED_SIDE * frequency * (position + 0.5)).astype(np.float32)


LOWEST_FREQUENCIES = _list_lowest_frequencies()
COSINES = _build_cosines(int(LOWEST_FREQUENCIES.max()) + 1)


def compute_perceptual_hashes(grays: PixelArray) -> KeyArray:
    """Return 64 bits per image that change little with size, compression, brightness and contrast.

    Args:
        grays: (n, height, width). The hash of an image with one gray level is noise.

    Returns:
        (n,).

    >>> ramp = np.tile(np.arange(0, 128, 4, dtype=np.uint8), (32, 1))
    >>> dark, bright = compute_perceptual_hashes(np.stack([ramp, ramp + 50]))
    >>> bool(dark == bright)
    True
    """
    rows, columns = (
        COSINES @ build_averaging_matrix(side, HASHED_SIDE) for side in grays.shape[1:]
    )
    spectrum = np.matmul(rows, grays.astype(np.float32) @ columns.T)
    lowest = spectrum[:, LOWEST_FREQUENCIES[:, 0], LOWEST_FREQUENCIES[:, 1]]
    lowest = np.round(lowest)  # an absent frequency is 0, without rounding errors
    bits = np.packbits(lowest > np.median(lowest, axis=1, keepdims=True), axis=1)
    return np.frombuffer(bits.tobytes(), ">u8").astype(np.uint64)


@cache
def build_averaging_matrix(side: int, cells: int) -> Float32Array:
    """Return the matrix (cells, side) that averages a side over equal cells, with partial pixels.

    >>> build_averaging_matrix(3, 2).tolist()
    [[0.6666666865348816, 0.3333333432674408, 0.0], [0.0, 0.3333333432674408, 0.6666666865348816]]
    """
    edges, pixels = np.arange(cells + 1)[:, None] * side / cells, np.arange(side)
    overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return (overlap.clip(0) * cells / side).astype(np.float32)
