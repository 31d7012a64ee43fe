"""What the gate keeps of an image besides its pixels: what kind of file it was, and how it looks.

All of it comes from the one decoding that makes the pixels, and stays in the cache beside them, so
that a run on known images need not decode them to judge them.
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from veduta.data.decode import DECODER, Picture
from veduta.data.hashing import averages, perceptual_hashes
from veduta.data.row_store import RowStore

VERSION = 2  # grows when a trait of the same picture changes
MOST_SIDE = 128  # pixels of the version that brightness and sharpness are measured on
LEAST_SIDE = 16  # pixels from which sharpness says anything
ONE_COLOUR = 8  # levels a channel may differ by in an image of one colour
THUMB = 8  # pixels a side of the thumbnail

RECORD = struct.Struct(f"<32sQII8s8sB????fff{3 * THUMB * THUMB}s")
"""How traits are kept, in the order of the fields of `Traits`."""


@final
@dataclass(frozen=True, slots=True)
class Traits:
    """Of one image.

    Attributes:
        pixels: SHA-256 of its size and decoded pixels, in hexadecimal: images that have the same
            one are identical, however their files were written.
        look: Its perceptual hash, 64 bits.
        width: In pixels, upright.
        height: Likewise.
        format: Of the file, as Pillow names it.
        mode: Of the file, as Pillow names it.
        orientation: EXIF orientation of the file, 1 to 8.
        deep: Whether the file has 16 bits a channel.
        transparent: Whether it may be transparent somewhere.
        animated: Whether the file has more than one frame.
        blank: Whether it is of one colour.
        brightness: Mean of its grey version, 0 to 255.
        contrast: Standard deviation of its grey version.
        sharpness: Variance of the Laplacian of its grey version, of at most `MOST_SIDE` pixels a
            side, over its variance; infinite where it is too small or too flat to say.
        thumbnail: `THUMB` x `THUMB` pixels, RGB.
    """

    pixels: str
    look: int
    width: int
    height: int
    format: str
    mode: str
    orientation: int
    deep: bool
    transparent: bool
    animated: bool
    blank: bool
    brightness: float
    contrast: float
    sharpness: float
    thumbnail: bytes


@final
@dataclass(frozen=True, slots=True)
class Sight:
    """What one picture gives at once; the rest is worked out of many small ones together.

    Many short calls on one image each, in threads, would wait for each other.
    """

    kind: tuple[object, ...]  # fields of `Traits`, from `pixels` to `blank`, without `look`
    small: NDArray[np.uint8]  # (height, width, 3), of at most `MOST_SIDE` pixels a side


def sight_of(picture: Picture) -> Sight:
    """Look at a picture."""
    pixels = np.ascontiguousarray(picture.pixels)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height} {width} ".encode())
    digest.update(pixels.data)
    size = min(width, MOST_SIDE), min(height, MOST_SIDE)
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    kind = (
        digest.digest(),
        width,
        height,
        picture.format.encode(),
        picture.mode.encode(),
        picture.orientation,
        picture.deep,
        picture.transparent,
        picture.animated,
        _is_blank(small, pixels),
    )
    return Sight(kind, np.asarray(small))


def rows_of(seen: Sequence[Sight]) -> list[NDArray[np.uint8]]:
    """Rows of the store, of pictures that were looked at; each as if it were alone."""
    rows: dict[int, NDArray[np.uint8]] = {}
    sides = sorted({one.small.shape for one in seen})
    for side in sides:
        places = [place for place, one in enumerate(seen) if one.small.shape == side]
        measured = _measured(np.stack([seen[place].small for place in places]))
        for place, (look, *figures) in zip(places, measured, strict=True):
            pixels, *kind = seen[place].kind
            rows[place] = np.frombuffer(RECORD.pack(pixels, look, *kind, *figures), np.uint8)
    return [rows[place] for place in range(len(seen))]


def _measured(small: NDArray[np.uint8]) -> Iterator[tuple[int, float, float, float, bytes]]:
    """Of small images (n, height, width, 3): hash, brightness, contrast, sharpness, thumbnail."""
    count, height, width, _ = small.shape
    strip = Image.frombuffer("RGB", (width, count * height), small)
    greys = np.asarray(strip.convert("L")).reshape(count, height, width)
    brightness, variance = _moments(greys)
    return zip(
        perceptual_hashes(greys).tolist(),
        brightness.tolist(),
        np.sqrt(variance).tolist(),
        sharpness(greys).tolist(),
        map(bytes, _thumbnails(small)),
        strict=True,
    )


def sharpness(greys: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Variance of the Laplacian over the variance: how much of what there is are edges.

    Args:
        greys: (n, height, width). Below `LEAST_SIDE` pixels a side, and where all is of one level,
            nothing can be said: infinite.

    Returns:
        (n,).

    Source: J. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000 (its
    LAPV); divided by the variance here, so that fog is not taken for blur.
    """
    if min(greys.shape[1:]) < LEAST_SIDE:
        return np.full(len(greys), math.inf)
    levels = greys.astype(np.int16)
    edges = levels[:, :-2, 1:-1] + levels[:, 2:, 1:-1]
    edges += levels[:, 1:-1, :-2]
    edges += levels[:, 1:-1, 2:]
    edges -= 4 * levels[:, 1:-1, 1:-1]
    variance = _moments(greys)[1]
    flat = variance == 0
    return np.where(flat, math.inf, _moments(edges)[1] / np.where(flat, 1, variance))


def trait_store(cache: Path) -> RowStore:
    """Where traits are kept: a record a file, by the SHA-256 of the file."""
    spec = {"decoder": DECODER, "version": VERSION}
    return RowStore(cache, "traits", spec, shape=(RECORD.size,), dtype="uint8")


def from_rows(rows: NDArray[np.uint8]) -> list[Traits]:
    """Rows of the store, (n, bytes), as traits."""
    return [
        Traits(pixels.hex(), look, width, height, _text(kind), _text(mode), *others)
        for pixels, look, width, height, kind, mode, *others in RECORD.iter_unpack(rows.tobytes())
    ]


def known_traits(store: RowStore, digests: Sequence[str]) -> list[Traits]:
    """The traits of files that the store has, in their order."""
    return from_rows(store.rows(digests).take())


def _text(kept: bytes) -> str:
    return kept.rstrip(b"\0").decode()


def _moments(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and variances (n,) of whole numbers (n, ...): exact, so the same on every machine."""
    wide = values.reshape(len(values), -1).astype(np.int32)
    count, total = wide.shape[1], wide.sum(axis=1, dtype=np.int64)
    wide *= wide
    squares = wide.sum(axis=1, dtype=np.int64)
    return total / count, (count * squares - total * total) / count**2


def _thumbnails(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, THUMB, THUMB, 3): means of equal parts."""
    count, height, width, _ = small.shape
    lines = small.reshape(count, height, -1).astype(np.float32)
    across = averages(height, THUMB) @ lines
    cells = averages(width, THUMB) @ across.reshape(count, THUMB, width, 3)
    return np.rint(cells).astype(np.uint8)


def _is_blank(small: Image.Image, pixels: NDArray[np.uint8]) -> bool:
    """Whether an image is of one colour; most are known not to be by their small version."""
    ranges = cast("tuple[tuple[int, int], ...]", small.getextrema())  # one a channel
    if any(high - low > ONE_COLOUR for low, high in ranges):
        return False
    return bool(np.ptp(pixels, axis=(0, 1)).max() <= ONE_COLOUR)
