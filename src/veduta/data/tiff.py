"""Kinds of TIFF files that Pillow opens and decodes wrongly: put right here, or refused.

Pillow keeps one letter of the name of a pixel format for each plane of a file whose channels are
stored one after another, reads a color map of 8 bits as one of 16, 12 bits as 16, and 16 bits of
which 0 is white as if 0 were black.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImagePalette
from PIL.ImageFile import _Tile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COLORMAP,
    FILLORDER,
    OPEN_INFO,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    STRIPBYTECOUNTS,
    TILEBYTECOUNTS,
    YCBCRSUBSAMPLING,
    TiffImageFile,
)

from veduta.errors import DecodeError

__all__ = ["gray_levels", "prepare"]

Levels = NDArray[np.uint8]

SEPARATE: Final = 2  # value of PLANAR_CONFIGURATION: each channel is stored on its own
WHITE_IS_ZERO: Final = 0  # values of PHOTOMETRIC_INTERPRETATION
YCBCR: Final = 6
PLANES: Final = {"RGB", "RGBA", "CMYK"}  # modes that Pillow can put together from planes
DEEP_PLANES: Final = {"RGB", "RGBA"}  # those of which it knows planes of 16 bits too

WIDE: Levels = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257
TWELVE: Levels = ((np.arange(65536).clip(max=4095) * 510 + 4095) // 8190).astype(np.uint8)


def prepare(image: Image.Image) -> None:
    """Correct how Pillow will decode an image that is open and not decoded yet.

    Args:
        image: Of any format; only TIFF files are changed.

    Raises:
        DecodeError: Pillow would decode it wrongly, and there is nothing to correct it with.
    """
    if not isinstance(image, TiffImageFile):
        return
    uncompressed = image.info.get("compression") == "raw"
    if uncompressed and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == YCBCR:
        _expect_every_chroma(image)
    if image.tag_v2.get(PLANAR_CONFIGURATION) == SEPARATE:
        if len(image.getbands()) == 1:
            if uncompressed:
                _restore_only_plane(image)
        else:
            _restore_planes(image, uncompressed=uncompressed)
    if image.mode in {"P", "PA"}:
        _restore_palette(image)


def gray_levels(image: Image.Image) -> Levels:
    """Table from the 16-bit numbers of a decoded gray image to levels from 0 to 255."""
    if not isinstance(image, TiffImageFile):
        return WIDE
    levels = TWELVE if _bits(image) == 12 else WIDE
    white_is_zero = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO) == WHITE_IS_ZERO
    return 255 - levels if white_is_zero else levels


def _bits(image: TiffImageFile) -> int:
    return int(image.tag_v2.get(BITSPERSAMPLE, (1,))[0])


def _restore_only_plane(image: TiffImageFile) -> None:
    """Decode the one plane of a gray or palette image as if it were not called a plane."""
    tags = image.tag_v2
    key = (
        tags.prefix,
        tags.get(PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO),
        tags.get(SAMPLEFORMAT, (1,))[:1],
        tags.get(FILLORDER, 1),
        (_bits(image),),
        (),
    )
    if key not in OPEN_INFO:
        raise _unsupported(image)
    _, raw_mode = OPEN_INFO[key]
    image.tile = [_with_raw_mode(tile, raw_mode) for tile in _planes(image)]


def _restore_planes(image: TiffImageFile, *, uncompressed: bool) -> None:
    """Decode planes of 16 bits as such; libtiff does where they are compressed."""
    if image.mode not in PLANES:
        raise _unsupported(image)
    if not uncompressed:
        return
    deep = _bits(image) == 16
    if image.tag_v2.get(FILLORDER, 1) != 1 or (deep and image.mode not in DEEP_PLANES):
        raise _unsupported(image)
    if deep:
        order = ";16L" if image.tag_v2.prefix == b"II" else ";16B"
        image.tile = [_with_raw_mode(tile, f"{_raw_mode(tile)}{order}") for tile in _planes(image)]


def _raw_mode(tile: _Tile) -> str:
    """How the numbers of a strip or tile are stored, by Pillow's name for it."""
    return str(tile.args[0]) if isinstance(tile.args, tuple) else str(tile.args)


def _with_raw_mode(tile: _Tile, raw_mode: str) -> _Tile:
    rest = tile.args[1:] if isinstance(tile.args, tuple) else ()
    return tile._replace(args=(raw_mode, *rest))


def _planes(image: TiffImageFile) -> list[_Tile]:
    """Strips or tiles of the channels of the mode; those of channels without a meaning follow."""
    stored = int(image.tag_v2.get(SAMPLESPERPIXEL, 1))
    return image.tile[: len(image.tile) * len(image.getbands()) // stored]


def _restore_palette(image: TiffImageFile) -> None:
    """Take a color map without a value above 255 as one of 8 bits, as libtiff does."""
    colors = image.tag_v2[COLORMAP]
    if max(colors) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colors))


def _expect_every_chroma(image: TiffImageFile) -> None:
    """Refuse uncompressed YCbCr that stores fewer chroma samples than pixels."""
    tags, (width, height) = image.tag_v2, image.size
    stored = sum(tags.get(STRIPBYTECOUNTS, ()) or tags.get(TILEBYTECOUNTS, ()))
    subsampling = tuple(tags.get(YCBCRSUBSAMPLING, ()))
    if subsampling != (1, 1) if subsampling else stored < 3 * width * height:
        raise DecodeError(
            "unsupported",
            "uncompressed YCbCr must store the chroma of every pixel; this TIFF file stores that "
            f"of every {subsampling or (2, 2)}; save it as PNG",
        )


def _unsupported(image: TiffImageFile) -> DecodeError:
    return DecodeError(
        "unsupported",
        f"planes of {image.mode} with {_bits(image)} bits are not read; this TIFF file stores its "
        "channels as planes (planar configuration 2): save it with interleaved channels, or as PNG",
    )
