"""Correct kinds of TIFF files that Pillow decodes wrongly, or refuse them.

Pillow keeps one letter of the name of a pixel format for each plane of a file with planar channels,
reads an 8-bit color map as a 16-bit one, 12 bits as 16, and 16 bits of which 0 is white as if 0
were black.
"""

from typing import Final

import numpy as np
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
from veduta.types import PixelArray

SEPARATE: Final = 2  # value of PLANAR_CONFIGURATION: each channel is stored as a plane
WHITE_IS_ZERO: Final = 0  # values of PHOTOMETRIC_INTERPRETATION
YCBCR: Final = 6
PLANAR_MODES: Final = {"RGB", "RGBA", "CMYK"}  # modes that Pillow can combine from planes
PLANAR_MODES_16_BIT: Final = {"RGB", "RGBA"}  # those that it can combine from planes of 16 bits

GRAY_16_BIT: PixelArray = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257
GRAY_12_BIT: PixelArray = ((np.arange(65536).clip(max=4095) * 510 + 4095) // 8190).astype(np.uint8)


def correct_tiff(image: Image.Image) -> None:
    """Correct how Pillow will decode an image that is open but not decoded.

    Args:
        image: an image of any format; only TIFF files are changed.

    Raises:
        DecodeError: Pillow would decode it wrongly, and that cannot be corrected.
    """
    if not isinstance(image, TiffImageFile):
        return
    uncompressed = image.info.get("compression") == "raw"
    if uncompressed and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == YCBCR:
        _require_full_chroma(image)
    if image.tag_v2.get(PLANAR_CONFIGURATION) == SEPARATE:
        if len(image.getbands()) == 1:
            if uncompressed:
                _correct_single_plane(image)
        else:
            _correct_planes(image, uncompressed=uncompressed)
    if image.mode in {"P", "PA"}:
        _correct_palette(image)


def build_gray_table(image: Image.Image) -> PixelArray:
    """Return the table from the 16-bit numbers of a decoded gray image to levels from 0 to 255."""
    if not isinstance(image, TiffImageFile):
        return GRAY_16_BIT
    levels = GRAY_12_BIT if _get_bits(image) == 12 else GRAY_16_BIT
    white_is_zero = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO) == WHITE_IS_ZERO
    return 255 - levels if white_is_zero else levels


def _get_bits(image: TiffImageFile) -> int:
    """Return the number of bits per channel."""
    return int(image.tag_v2.get(BITSPERSAMPLE, (1,))[0])


def _correct_single_plane(image: TiffImageFile) -> None:
    """Decode the only plane of a gray or palette image like interleaved pixels."""
    tags = image.tag_v2
    key = (
        tags.prefix,
        tags.get(PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO),
        tags.get(SAMPLEFORMAT, (1,))[:1],
        tags.get(FILLORDER, 1),
        (_get_bits(image),),
        (),
    )
    if key not in OPEN_INFO:
        raise _build_plane_error(image)
    _, raw_mode = OPEN_INFO[key]
    image.tile = [_replace_raw_mode(tile, raw_mode) for tile in _list_planes(image)]


def _correct_planes(image: TiffImageFile, *, uncompressed: bool) -> None:
    """Decode planes of 16 bits as such; libtiff does so if they are compressed."""
    if image.mode not in PLANAR_MODES:
        raise _build_plane_error(image)
    if not uncompressed:
        return
    is_16_bit = _get_bits(image) == 16
    if image.tag_v2.get(FILLORDER, 1) != 1 or (is_16_bit and image.mode not in PLANAR_MODES_16_BIT):
        raise _build_plane_error(image)
    if is_16_bit:
        order = ";16L" if image.tag_v2.prefix == b"II" else ";16B"
        image.tile = [
            _replace_raw_mode(tile, f"{_get_raw_mode(tile)}{order}") for tile in _list_planes(image)
        ]


def _get_raw_mode(tile: _Tile) -> str:
    """Return Pillow's name of the pixel format of a strip or tile."""
    return str(tile.args[0]) if isinstance(tile.args, tuple) else str(tile.args)


def _replace_raw_mode(tile: _Tile, raw_mode: str) -> _Tile:
    """Return a strip or tile with another pixel format."""
    rest = tile.args[1:] if isinstance(tile.args, tuple) else ()
    return tile._replace(args=(raw_mode, *rest))


def _list_planes(image: TiffImageFile) -> list[_Tile]:
    """Return the strips or tiles of the channels of the mode, without those of extra channels."""
    stored = int(image.tag_v2.get(SAMPLESPERPIXEL, 1))
    return image.tile[: len(image.tile) * len(image.getbands()) // stored]


def _correct_palette(image: TiffImageFile) -> None:
    """Read a color map without a value above 255 as one of 8 bits, as libtiff does."""
    colors = image.tag_v2[COLORMAP]
    if max(colors) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colors))


def _require_full_chroma(image: TiffImageFile) -> None:
    """Raise a DecodeError for uncompressed YCbCr with fewer chroma samples than pixels."""
    tags, (width, height) = image.tag_v2, image.size
    stored = sum(tags.get(STRIPBYTECOUNTS, ()) or tags.get(TILEBYTECOUNTS, ()))
    subsampling = tuple(tags.get(YCBCRSUBSAMPLING, ()))
    if subsampling != (1, 1) if subsampling else stored < 3 * width * height:
        raise DecodeError(
            "unsupported",
            "uncompressed YCbCr must store the chroma of every pixel; this TIFF file stores that "
            f"of every {subsampling or (2, 2)}; save it as PNG",
        )


def _build_plane_error(image: TiffImageFile) -> DecodeError:
    """Return the error for planes that Pillow cannot decode."""
    return DecodeError(
        "unsupported",
        f"planes of {image.mode} with {_get_bits(image)} bits are not decoded; this TIFF file has "
        "planar channels (planar configuration 2): save it with interleaved channels, or as PNG",
    )
