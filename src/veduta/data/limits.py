"""What one image may take: its memory and time are known from its header, and bounded by it.

A file of some kilobytes may ask for gigabytes, or for minutes. What a format costs beside the
pixels themselves was measured with images of 64 million pixels.
"""

import re

from PIL import Image

from veduta.errors import DecodeError

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
