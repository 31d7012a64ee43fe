"""Decode image files to RGB arrays: the one definition that every command uses."""

import errno
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from veduta.data.tiff import gray_levels, prepare
from veduta.errors import DecodeError, VedutaError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """A file as it was decoded.

    Attributes:
        pixels: Of the first frame, shape (height, width, 3), RGB, 0 to 255, upright.
        format: As Pillow names it, such as "JPEG", "PNG" or "MPO".
        mode: Of what the file holds, as Pillow names it: "RGB", "L", "CMYK", "P", ...
        deep: Whether it has 16 bits a channel.
        transparent: Whether it may be transparent somewhere.
        animated: Whether it has more than one frame.
        orientation: EXIF orientation, 1 to 8; 1 where it has none.
    """

    pixels: Pixels
    format: str
    mode: str
    deep: bool
    transparent: bool
    animated: bool
    orientation: int


MOST_PIXELS = 64_000_000
MOST_MEMORY = 560_000_000  # bytes
MOST_SCANNED = 100 * MOST_PIXELS  # pixels of a JPEG, each as often as a scan goes over it
MOST_INTERPRETED = 1_000_000  # pixels of a format that Pillow decodes in Python, at 1 us each

STORED, HANDED_OVER = 4, 3  # bytes a pixel, in Pillow and as RGB
BESIDE = {"WEBP": 12, "TIFF": 4}  # bytes a pixel, beside what is stored, while it is decoded
COEFFICIENT = 2  # bytes, of which a progressive JPEG holds one a pixel and channel
INTERPRETED = {"ppm", "ppm_plain", "bmp_rle"}  # what Pillow calls decoders written in Python
START_OF_SCAN = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c][\x01-\x04]")
"""Marker, length and number of channels: what stands behind the image is rarely like that."""


def expect_size(image: Image.Image) -> None:
    """Do nothing where an image has no more than `MOST_PIXELS` pixels.

    Raises:
        DecodeError: it has more.
    """
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise DecodeError(
            "too large", f"at most {MOST_PIXELS:,} pixels; this image has {width} x {height}"
        )


def expect_little(image: Image.Image, data: bytes) -> None:
    """Do nothing where an image that is not decoded yet will take little memory and time.

    Args:
        image: As its header says.
        data: Its file.

    Raises:
        DecodeError: it has too many pixels, for any image or for one of its format.
    """
    expect_size(image)
    width, height = image.size
    pixels = width * height
    memory = len(data) + pixels * max(STORED + _beside(image), STORED + HANDED_OVER)
    if memory > MOST_MEMORY:
        raise DecodeError(
            "too large",
            f"decoding may take {MOST_MEMORY:,} bytes; {width} x {height} pixels of {image.format} "
            f"take {memory:,}",
        )
    scans = len(START_OF_SCAN.findall(data)) if image.format in {"JPEG", "MPO"} else 1
    if scans * pixels > MOST_SCANNED:
        raise DecodeError(
            "too large", f"{scans:,} scans of {width} x {height} pixels take too long; save it anew"
        )
    slow = {tile[0] for tile in getattr(image, "tile", ())} & INTERPRETED
    if slow and pixels > MOST_INTERPRETED:
        raise DecodeError(
            "too large",
            f"at most {MOST_INTERPRETED:,} pixels of {image.format} as text, in runs, or of "
            f"unusual depth; this image has {width} x {height}; save it as PNG",
        )


def _beside(image: Image.Image) -> int:
    """Bytes a pixel that decoding takes beside those that are stored."""
    if image.info.get("progressive"):
        return COEFFICIENT * len(image.getbands())
    return BESIDE.get(str(image.format), 0)


__all__ = ["DECODER", "FORMATS", "MOST_BYTES", "MOST_PIXELS", "calm", "decode", "read_file"]

DECODER = f"pillow-{PIL.__version__}/2"
"""Part of every cache key; the number after the slash grows when this module changes pixels."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MOST_BYTES = 256 * 2**20
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # of the machine, whatever the file is
STRIP = 2**20  # pixels converted at a time: large images need no second full copy

DEEP = (";16B", ";16L", ";16N")  # how Pillow names what it reads with 16 bits a channel

BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
STRANGERS = (  # (offset, first bytes in lower case, what it is); kinds that people do have
    (0, b"%pdf", "a PDF document"),
    (0, b"%!ps", "a PostScript file"),
    (0, b"8bps", "a Photoshop file"),
    (0, b"simple  =", "a FITS file"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML or SVG file"),
    (0, b"<!doctype", "a web page"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"jp  ", "a JPEG 2000 image"),
)


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; a pipe, a device or a socket is not even opened.

    Raises:
        DecodeError: missing, not a regular file, empty, too large, or not readable.
        VedutaError: the machine has no room for one open file more, which is no fault of the file.
    """
    try:
        _expect_regular(os.stat(path))  # noqa: PTH116 (a str costs less than a Path, 100,000 times)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 (a descriptor)
            _expect_regular(os.fstat(descriptor))
            data = file.read()
    except FileNotFoundError as error:
        raise DecodeError("missing", "no such file, or a link to nowhere") from error
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise VedutaError(
                f"images are read one file a thread; the system refused {path}: {error.strerror}: "
                "allow more open files (`ulimit -n`), or end what holds files or memory, and go on"
            ) from error
        raise DecodeError("unreadable", error.strerror or str(error)) from error
    if not data:
        raise DecodeError("empty", "the file has no content")
    return data


def decode(data: bytes) -> Pixels:
    """Pixels (height, width, 3) of the first frame, RGB, 0 to 255; errors as `picture_of`."""
    return picture_of(data).pixels


def picture_of(data: bytes) -> Picture:
    """An image, and what kind of file it came in.

    Raises:
        DecodeError: the bytes are not an image of `FORMATS`, are damaged, have more than
            `MOST_PIXELS` pixels (fewer where `data.limits` says so), or hold numbers without a
            stated white (32-bit, floating point).
    """
    try:
        with calm(), Image.open(BytesIO(data), formats=FORMATS) as image:
            expect_little(image, data)
            prepare(image)
            mode = image.mode
            deep = mode.startswith("I") or any(name in str(image.tile[:1]) for name in DEEP)
            image.load()
            expect_size(image)  # which a header of two minds may change
            pixels, orientation = _rgb(image), _orientation(image)
            return Picture(
                _upright(pixels, orientation),
                format=image.format or "",
                mode=mode,
                deep=deep,
                transparent=image.has_transparency_data,
                animated=_is_animated(image),
                orientation=orientation,
            )
    except DecodeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise DecodeError("too large", _line(error)) from error
    except PIL.UnidentifiedImageError as error:
        raise _identified(data) from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise DecodeError("unreadable", _line(error)) from error


def _expect_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError("not a regular file", "a folder, pipe, device or socket")
    if status.st_size > MOST_BYTES:
        raise DecodeError(
            "too large", f"at most {MOST_BYTES:,} bytes a file; this one has {status.st_size:,}"
        )


def _rgb(image: Image.Image) -> Pixels:
    """Every mode of Pillow as RGB, strip by strip."""
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise DecodeError(
            "unsupported", "32-bit numbers have no stated white; save with 8 or 16 bits a channel"
        )
    width, height = image.size
    if width * height <= STRIP:
        return _convert(image, image)
    pixels = np.empty((height, width, 3), np.uint8)
    lines = STRIP // width or 1
    for top in range(0, height, lines):
        bottom = min(top + lines, height)
        pixels[top:bottom] = _convert(image.crop((0, top, width, bottom)), image)
    return pixels


def _convert(strip: Image.Image, whole: Image.Image) -> Pixels:
    """A part of an image as RGB; `whole` knows about transparency, which a part may have lost."""
    if strip.mode.startswith("I"):
        wide = np.asarray(strip)
        grey = gray_levels(whole)[wide]
        if (clear := whole.info.get("transparency")) is not None:
            grey[wide == clear] = 255
        return np.broadcast_to(grey[..., None], (*grey.shape, 3))
    if not whole.has_transparency_data:
        return np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    layers = np.asarray(strip.convert("RGBA")).astype(np.uint16)
    opacity = layers[..., 3:]
    return ((layers[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    """How the camera was held (EXIF orientation 1 to 8)."""
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 (damaged metadata says nothing about the pixels)
        return 1
    return int(found) if found in range(1, 9) else 1


def _is_animated(image: Image.Image) -> bool:
    """Whether there is a second frame; asked last, for it may move on in the file."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 (the first frame is whole, whatever comes after it)
        return False


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """The image as its camera was held."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _identified(data: bytes) -> DecodeError:
    """Why Pillow does not know a file: damaged in its first bytes, or something else."""
    if data.startswith(BEGINNINGS):
        return DecodeError("unreadable", "its header is damaged, or of a kind that is not read")
    start = data[:64].lstrip().lower()
    for offset, magic, what in STRANGERS:
        if start[offset:].startswith(magic):
            return DecodeError("not an image", f"this is {what}; save it as PNG or JPEG")
    return DecodeError("not an image", f"none of {', '.join(FORMATS)} begins like this file")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


_lock = threading.Lock()
_calm_threads = 0
_filters = warnings.catch_warnings()


@contextmanager
def calm() -> Iterator[None]:
    """Pillow's warnings about metadata are dropped, its warning about size is an error.

    `catch_warnings` alone is not safe in threads: the first thread in sets the filters, the last
    one out restores them, so the verdict on a file depends neither on its neighbours nor on `-W`.
    """
    global _calm_threads, _filters  # noqa: PLW0603
    with _lock:
        if _calm_threads == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
        _calm_threads += 1
    try:
        yield
    finally:
        with _lock:
            _calm_threads -= 1
            if _calm_threads == 0:
                _filters.__exit__(None, None, None)
