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
from PIL import Image

from veduta.data.tiff import build_gray_table, correct_tiff
from veduta.errors import DecodeError, VedutaError, describe_os_error
from veduta.types import PixelArray

DECODER = f"pillow-{PIL.__version__}/2"
"""Part of every cache key; the number after the slash grows when this module changes pixels."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_FILE_BYTES = 256 * 2**20
EXHAUSTION_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # of the machine, not of the file
STRIP_PIXELS = 2**20  # pixels converted at a time: large images need no second full copy

RAW_MODES_16_BIT = (";16B", ";16L", ";16N")  # endings of Pillow's names of 16-bit pixel formats

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
OTHER_SIGNATURES = (  # (offset, first bytes in lower case, kind) of files that are not decoded
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

MAX_PIXELS = 64_000_000
MAX_MEMORY = 560_000_000  # bytes
MAX_SCANNED_PIXELS = 100 * MAX_PIXELS  # of a JPEG, pixels times scans
MAX_INTERPRETED_PIXELS = 1_000_000  # of a format that Pillow decodes in Python, at 1 us per pixel

PILLOW_BYTES, RGB_BYTES = 4, 3  # per pixel, in Pillow and in the result
WORKING_BYTES = {"WEBP": 12, "TIFF": 4}  # per pixel, in addition, while an image is decoded
COEFFICIENT_BYTES = 2  # a progressive JPEG holds one coefficient per pixel and channel
PYTHON_DECODERS = {"ppm", "ppm_plain", "bmp_rle"}  # Pillow's names of decoders written in Python
START_OF_SCAN = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c][\x01-\x04]")
"""Marker, length and number of channels: data after the image rarely match by chance."""


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """The pixels and properties of an image file.

    Attributes:
        pixels: first frame, shape (height, width, 3), RGB, 0 to 255, with the EXIF orientation
            applied.
        format: Pillow's name, such as "JPEG", "PNG" or "MPO".
        mode: Pillow's name of the mode of the file: "RGB", "L", "CMYK", "P", ...
        is_16_bit: whether the file has 16 bits per channel.
        has_transparency: whether the file has an alpha channel or a transparent color.
        is_animated: whether the file has more than one frame.
        orientation: EXIF orientation, 1 to 8; 1 if the file has none.
    """

    pixels: PixelArray
    format: str
    mode: str
    is_16_bit: bool
    has_transparency: bool
    is_animated: bool
    orientation: int


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file; pipes, devices and sockets are not opened.

    Raises:
        DecodeError: the file is missing, not regular, empty, too large, or not readable.
        VedutaError: the system cannot open another file, which is no fault of this one.
    """
    try:
        _require_regular(os.stat(path))  # noqa: PTH116 (a str is faster than a Path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 (a descriptor)
            _require_regular(os.fstat(descriptor))
            data = file.read()
    except FileNotFoundError as error:
        raise DecodeError("missing", "no such file, or a broken link") from error
    except OSError as error:
        if error.errno in EXHAUSTION_ERRORS:
            raise VedutaError(
                "the system must be able to open one file per thread; it refused "
                f"{path}: {describe_os_error(error)}: allow more open files (`ulimit -n`), or end "
                "other programs, and resume"
            ) from error
        raise DecodeError("unreadable", describe_os_error(error)) from error
    if not data:
        raise DecodeError("empty", "the file has no content")
    return data


def decode(data: bytes) -> PixelArray:
    """Return the pixels (height, width, 3) of the first frame, RGB, 0 to 255.

    Raises:
        DecodeError: see `decode_with_properties`.
    """
    return decode_with_properties(data).pixels


def decode_with_properties(data: bytes) -> DecodedFile:
    """Return the pixels and the properties of an image file.

    Raises:
        DecodeError: the bytes are not an image of `FORMATS`, are damaged, have more than
            `MAX_PIXELS` pixels (fewer if memory or time require it), or are numbers without a
            defined white (32-bit, floating point).
    """
    try:
        with filter_pillow_warnings(), Image.open(BytesIO(data), formats=FORMATS) as image:
            check_decoding_cost(image, data)
            correct_tiff(image)
            mode = image.mode
            is_16_bit = mode.startswith("I") or any(
                name in str(image.tile[:1]) for name in RAW_MODES_16_BIT
            )
            image.load()
            check_pixel_count(image)  # decoding changes it if the headers contradict each other
            pixels, orientation = _convert_to_rgb(image), _get_orientation(image)
            return DecodedFile(
                _apply_orientation(pixels, orientation),
                format=image.format or "",
                mode=mode,
                is_16_bit=is_16_bit,
                has_transparency=image.has_transparency_data,
                is_animated=_is_animated(image),
                orientation=orientation,
            )
    except DecodeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise DecodeError("too large", _format_error(error)) from error
    except PIL.UnidentifiedImageError as error:
        raise _identify_file(data) from error
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise DecodeError("unreadable", _format_error(error)) from error


def check_pixel_count(image: Image.Image) -> None:
    """Check that an image has at most `MAX_PIXELS` pixels.

    Raises:
        DecodeError: it has more.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DecodeError(
            "too large", f"at most {MAX_PIXELS:,} pixels; this image has {width} x {height}"
        )


def check_decoding_cost(image: Image.Image, data: bytes) -> None:
    """Check that an image which is open but not decoded will need little memory and time.

    Args:
        image: the image, with its header alone.
        data: its file.

    Raises:
        DecodeError: it has too many pixels, for any image or for one of its format.
    """
    check_pixel_count(image)
    width, height = image.size
    pixels = width * height
    bytes_per_pixel = max(PILLOW_BYTES + _get_working_bytes(image), PILLOW_BYTES + RGB_BYTES)
    memory = len(data) + pixels * bytes_per_pixel
    if memory > MAX_MEMORY:
        raise DecodeError(
            "too large",
            f"decoding may need {MAX_MEMORY:,} bytes; {width} x {height} pixels of {image.format} "
            f"need {memory:,}",
        )
    scans = len(START_OF_SCAN.findall(data)) if image.format in {"JPEG", "MPO"} else 1
    if scans * pixels > MAX_SCANNED_PIXELS:
        raise DecodeError(
            "too large",
            f"at most {MAX_SCANNED_PIXELS:,} pixels times scans; this image has {scans:,} scans "
            f"of {width} x {height} pixels; save it again",
        )
    interpreted = {tile[0] for tile in getattr(image, "tile", ())} & PYTHON_DECODERS
    if interpreted and pixels > MAX_INTERPRETED_PIXELS:
        raise DecodeError(
            "too large",
            f"at most {MAX_INTERPRETED_PIXELS:,} pixels of {image.format} as text, run-length "
            f"encoded, or of unusual depth; this image has {width} x {height}; save it as PNG",
        )


def _get_working_bytes(image: Image.Image) -> int:
    """Return the bytes per pixel that decoding needs in addition to the decoded image."""
    if image.info.get("progressive"):
        return COEFFICIENT_BYTES * len(image.getbands())
    return WORKING_BYTES.get(str(image.format), 0)


def _require_regular(status: os.stat_result) -> None:
    """Raise a DecodeError unless a file is regular and at most `MAX_FILE_BYTES` long."""
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError("not a regular file", "a folder, pipe, device or socket")
    if status.st_size > MAX_FILE_BYTES:
        raise DecodeError(
            "too large",
            f"at most {MAX_FILE_BYTES:,} bytes per file; this one has {status.st_size:,}",
        )


def _convert_to_rgb(image: Image.Image) -> PixelArray:
    """Return an image of any mode of Pillow as RGB, converted strip by strip."""
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise DecodeError(
            "unsupported",
            "32-bit numbers have no defined white; save with 8 or 16 bits per channel",
        )
    width, height = image.size
    if width * height <= STRIP_PIXELS:
        return _convert_strip(image, image)
    pixels = np.empty((height, width, 3), np.uint8)
    lines = STRIP_PIXELS // width or 1
    for top in range(0, height, lines):
        bottom = min(top + lines, height)
        pixels[top:bottom] = _convert_strip(image.crop((0, top, width, bottom)), image)
    return pixels


def _convert_strip(strip: Image.Image, whole: Image.Image) -> PixelArray:
    """Return a strip of an image as RGB; `whole` has the transparency, which a crop may lose."""
    if strip.mode.startswith("I"):
        levels = np.asarray(strip)
        gray = build_gray_table(whole)[levels]
        if (transparent := whole.info.get("transparency")) is not None:
            gray[levels == transparent] = 255
        return np.broadcast_to(gray[..., None], (*gray.shape, 3))
    if not whole.has_transparency_data:
        return np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    channels = np.asarray(strip.convert("RGBA")).astype(np.uint16)
    opacity = channels[..., 3:]
    return ((channels[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _get_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if it is missing or damaged."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 (the pixels may be intact if the metadata are damaged)
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


def _is_animated(image: Image.Image) -> bool:
    """Return whether there is a second frame; may move the position in the file."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 (the first frame is intact)
        return False


def _apply_orientation(pixels: PixelArray, orientation: int) -> PixelArray:
    """Return the pixels with the EXIF orientation applied.

    `ImageOps.exif_transpose` also rewrites the metadata, which fails if they are damaged.
    """
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _identify_file(data: bytes) -> DecodeError:
    """Return the error for a file that Pillow does not identify: damaged, or of another kind."""
    if data.startswith(SIGNATURES):
        return DecodeError("unreadable", "its header is damaged, or of an unsupported kind")
    start = data[:64].lstrip().lower()
    for offset, signature, kind in OTHER_SIGNATURES:
        if start[offset:].startswith(signature):
            return DecodeError("not an image", f"this is {kind}; save it as PNG or JPEG")
    return DecodeError("not an image", f"it has the signature of none of {', '.join(FORMATS)}")


def _format_error(error: BaseException) -> str:
    """Return the message of an error as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


_lock = threading.Lock()
_active_threads = 0
_filters = warnings.catch_warnings()


@contextmanager
def filter_pillow_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings about metadata, and raise its warning about size.

    `catch_warnings` alone is not safe in threads: here the first thread to enter sets the filters
    and the last one to leave restores them, so that the result for a file depends neither on other
    files nor on `-W`.
    """
    global _active_threads, _filters  # noqa: PLW0603
    with _lock:
        if _active_threads == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
        _active_threads += 1
    try:
        yield
    finally:
        with _lock:
            _active_threads -= 1
            if _active_threads == 0:
                _filters.__exit__(None, None, None)
