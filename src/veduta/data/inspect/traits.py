"""What the gate keeps of an image besides its pixels: what kind of file it was, and how it looks.

All of it comes from the one decoding that makes the pixels, and stays in the cache beside them, so
that a run on known images need not decode them to judge them.
"""

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from veduta.data.decode import DECODER
from veduta.data.inspect.hashing import SIDE, perceptual_hash
from veduta.data.picture import Picture
from veduta.data.rows import RowStore

VERSION = 1  # grows when a trait of the same picture changes
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


_values = attrgetter(*(field.name for field in fields(Traits)))


def traits_of(picture: Picture) -> Traits:
    """What is kept of a picture."""
    pixels = np.ascontiguousarray(picture.pixels)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height} {width} ".encode())
    digest.update(pixels.data)
    image = Image.fromarray(pixels)
    size = min(width, MOST_SIDE), min(height, MOST_SIDE)
    grey = image.convert("L").resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    levels = np.asarray(grey)
    brightness, variance = _moments(levels)
    return Traits(
        pixels=digest.hexdigest(),
        look=perceptual_hash(np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))),
        width=width,
        height=height,
        format=picture.format,
        mode=picture.mode,
        orientation=picture.orientation,
        deep=picture.deep,
        transparent=picture.transparent,
        animated=picture.animated,
        blank=_is_blank(levels, pixels),
        brightness=_single(brightness),
        contrast=_single(math.sqrt(variance)),
        sharpness=_single(sharpness(levels)),
        thumbnail=_thumbnail(image),
    )


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian over the variance: how much of what there is are edges.

    Args:
        grey: (height, width). Below `LEAST_SIDE` pixels a side, and where all is of one level,
            nothing can be said: infinite.

    Source: J. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000 (its
    LAPV); divided by the variance here, so that fog is not taken for blur.
    """
    if min(grey.shape) < LEAST_SIDE or not (variance := _moments(grey)[1]):
        return math.inf
    levels = grey.astype(np.int16)
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    return _moments(around - 4 * levels[1:-1, 1:-1])[1] / variance


def trait_store(cache: Path) -> RowStore:
    """Where traits are kept: a record a file, by the SHA-256 of the file."""
    spec = {"decoder": DECODER, "version": VERSION}
    return RowStore(cache, "traits", spec, shape=(RECORD.size,), dtype="uint8")


def to_row(picture: Picture) -> NDArray[np.uint8]:
    """The traits of a picture as a row of the store."""
    pixels, look, width, height, kind, mode, *others = _values(traits_of(picture))
    record = RECORD.pack(
        bytes.fromhex(pixels), look, width, height, kind.encode(), mode.encode(), *others
    )
    return np.frombuffer(record, np.uint8)


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


def _moments(values: NDArray[Any]) -> tuple[float, float]:
    """Mean and variance of whole numbers: exact, so the same on every machine; no BLAS.

    BLAS would share out these few numbers to threads, which costs more than all the rest.
    """
    flat = values.reshape(-1).astype(np.float64)
    count, total, squares = len(flat), int(flat.sum()), int(np.einsum("i,i->", flat, flat))
    return total / count, (count * squares - total * total) / count**2


def _thumbnail(image: Image.Image) -> bytes:
    """`THUMB` x `THUMB` pixels: by whole numbers first, which is several times as quick."""
    factor = max(1, min(image.size) // (2 * THUMB))
    return image.reduce(factor).resize((THUMB, THUMB), Image.Resampling.BOX).tobytes()


def _is_blank(levels: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    """Whether an image is of one colour; most are known not to be by their small version."""
    if np.ptp(levels) > ONE_COLOUR:
        return False
    return bool(np.ptp(pixels, axis=(0, 1)).max() <= ONE_COLOUR)


def _single(value: float) -> float:
    """Rounded as the store keeps it, so that known images are judged as new ones."""
    return float(np.float32(value))
