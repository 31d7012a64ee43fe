"""What the gate keeps of an image besides its pixels: what kind of file it was, and how it looks.

All of it comes from the one decoding that makes the pixels, and stays in the cache beside them, so
that a run on known images need not decode them to judge them.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

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

RECORD = np.dtype(
    [
        ("pixels", "u1", 32),
        ("look", "<u8"),
        ("width", "<u4"),
        ("height", "<u4"),
        ("format", "S8"),
        ("mode", "S8"),
        ("orientation", "u1"),
        ("deep", "?"),
        ("transparent", "?"),
        ("animated", "?"),
        ("blank", "?"),
        ("brightness", "<f4"),
        ("contrast", "<f4"),
        ("sharpness", "<f4"),
        ("thumbnail", "u1", 3 * THUMB * THUMB),
    ]
)


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


def traits_of(picture: Picture) -> Traits:
    """What is kept of a picture."""
    pixels = np.ascontiguousarray(picture.pixels)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height} {width} ".encode())
    digest.update(pixels.data)
    size = min(width, MOST_SIDE), min(height, MOST_SIDE)
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    grey = small.convert("L")
    levels = np.asarray(grey)
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
        brightness=_single(levels.mean()),
        contrast=_single(levels.std()),
        sharpness=_single(sharpness(levels)),
        thumbnail=small.resize((THUMB, THUMB), Image.Resampling.BOX).tobytes(),
    )


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian over the variance: how much of what there is are edges.

    Args:
        grey: (height, width). Below `LEAST_SIDE` pixels a side, and where all is of one level,
            nothing can be said: infinite.

    Source: J. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000 (its
    LAPV); divided by the variance here, so that fog is not taken for blur.
    """
    levels = grey.astype(np.float32)
    spread = float(levels.var())
    if min(grey.shape) < LEAST_SIDE or not spread:
        return math.inf
    inner = levels[1:-1, 1:-1]
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    return float((around - 4 * inner).var()) / spread


def trait_store(cache: Path) -> RowStore:
    """Where traits are kept: a record a file, by the SHA-256 of the file."""
    spec = {"decoder": DECODER, "version": VERSION}
    return RowStore(cache, "traits", spec, shape=(RECORD.itemsize,), dtype="uint8")


def to_row(picture: Picture) -> NDArray[np.uint8]:
    """The traits of a picture as a row of the store."""
    found, record = traits_of(picture), np.zeros(1, RECORD)
    for name in RECORD.names or ():
        value = getattr(found, name)
        if RECORD[name].shape:
            value = np.frombuffer(value if name == "thumbnail" else bytes.fromhex(value), np.uint8)
        record[name] = value
    return record.view(np.uint8)


def from_rows(rows: NDArray[np.uint8]) -> list[Traits]:
    """Rows of the store, (n, bytes), as traits."""
    return [_read(record) for record in np.ascontiguousarray(rows).view(RECORD)[:, 0]]


def known_traits(store: RowStore, digests: Sequence[str]) -> list[Traits]:
    """The traits of files that the store has, in their order."""
    return from_rows(store.rows(digests).take())


def _read(record: np.void) -> Traits:
    values = dict(zip(RECORD.names or (), record.item(), strict=True))
    return Traits(
        **{
            **values,
            "pixels": record["pixels"].tobytes().hex(),
            "thumbnail": record["thumbnail"].tobytes(),
            "format": values["format"].decode(),
            "mode": values["mode"].decode(),
        }
    )


def _is_blank(levels: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    """Whether an image is of one colour; most are known not to be by their small version."""
    if np.ptp(levels) > ONE_COLOUR:
        return False
    return bool(np.ptp(pixels, axis=(0, 1)).max() <= ONE_COLOUR)


def _single(value: float) -> float:
    """Rounded as the store keeps it, so that known images are judged as new ones."""
    return float(np.float32(value))
