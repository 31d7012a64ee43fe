"""Kinds of TIFF files that Pillow decodes wrongly: each gives the right pixels, or is refused.

The files and the expected pixels are built by hand, by the TIFF 6.0 specification.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from veduta.data.decode import decode, decode_with_properties
from veduta.errors import DecodeError

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
CONTIGUOUS, SEPARATE = 1, 2
NONE, DEFLATE = 1, 8
STRIPS, TILES = (273, 279), (324, 325)  # tags of offsets and byte counts
HEIGHT, WIDTH = 20, 24
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

Values = NDArray[np.int64]


def build_tiff(
    tags: Mapping[int, Sequence[int]],
    parts: Sequence[bytes],
    *,
    order: str = "<",
    where: tuple[int, int] = STRIPS,
    appended: bytes = b"",
) -> bytes:
    """Return a TIFF file with these tags, whose strips or tiles are `parts`."""
    body, offsets = b"", []
    for part in parts:
        offsets.append(8 + len(body))
        body += part + bytes(len(part) % 2)
    full = {**tags, where[0]: offsets, where[1]: [len(part) for part in parts]}
    start = 8 + len(body)
    room = start + 2 + 12 * len(full) + 4
    entries, outside = b"", b""
    for tag, values in sorted(full.items()):
        letter, kind = ("I", 4) if tag in where else ("H", 3)
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            outside, packed = outside + packed, struct.pack(f"{order}I", room + len(outside))
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = b"II*\0" if order == "<" else b"MM\0*"
    return b"".join(
        [
            head + struct.pack(f"{order}I", start) + body,
            struct.pack(f"{order}H", len(full)) + entries + bytes(4) + outside + appended,
        ]
    )


def pack_rows(rows: Values, bits: int, order: str = "<") -> bytes:
    """Return rows of numbers as bytes, each row padded to a whole byte."""
    if bits == 16:
        return rows.astype(f"{order}u2").tobytes()
    digits = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(digits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def build_image(
    values: Values,  # (channels, height, width)
    photometric: int,
    bits: int,
    *,
    planar: int = CONTIGUOUS,
    order: str = "<",
    compression: int = NONE,
    tile: int = 0,
    reverse: bool = False,
    extra: Mapping[int, Sequence[int]] | None = None,
    appended: bytes = b"",
) -> bytes:
    """Return a TIFF file with one strip per plane, or with square tiles of `tile` pixels."""
    channels, height, width = values.shape
    planes = values if planar == SEPARATE else np.moveaxis(values, 0, -1)[None]
    parts = []
    for plane in planes:
        for top in range(0, height, tile or height):
            for left in range(0, width, tile or width):
                part = plane[top : top + (tile or height), left : left + (tile or width)]
                if tile:
                    more = [(0, tile - part.shape[0]), (0, tile - part.shape[1])]
                    part = np.pad(part, more + [(0, 0)] * (part.ndim - 2))
                data = pack_rows(part.reshape(len(part), -1), bits, order)
                data = data.translate(REVERSED) if reverse else data
                parts.append(zlib.compress(data) if compression == DEFLATE else data)
    tags = {
        256: [width],
        257: [height],
        258: [bits] * channels,
        259: [compression],
        262: [photometric],
        266: [2 if reverse else 1],
        277: [channels],
        284: [planar],
        **({322: [tile], 323: [tile]} if tile else {278: [height]}),
        **(extra or {}),
    }
    return build_tiff(tags, parts, order=order, where=TILES if tile else STRIPS, appended=appended)


def draw_numbers(channels: int, bits: int) -> Values:
    """Return random numbers of all sizes, different in each channel."""
    draw = np.random.default_rng(bits)
    return draw.integers(0, 2**bits, (channels, HEIGHT, WIDTH), dtype=np.int64)


def check_pixels(data: bytes, expected: NDArray[np.float64]) -> None:
    """Check that the pixels of a file are `expected` (channels, H, W), to two levels."""
    pixels = decode(data)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pixels - np.moveaxis(expected, 0, -1)).max() <= 2


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_planes_of_rgb(bits: int, order: str, compression: int, tile: int) -> None:
    values = draw_numbers(3, bits)
    data = build_image(
        *(values, RGB, bits), planar=SEPARATE, order=order, compression=compression, tile=tile
    )
    check_pixels(data, values / (2**bits - 1) * 255)
    assert decode_with_properties(data).is_16_bit is (bits == 16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_planes_with_opacity_are_blended_with_white(bits: int, order: str) -> None:
    values, opaque = draw_numbers(4, bits), {338: [2]}
    data = build_image(values, RGB, bits, planar=SEPARATE, order=order, extra=opaque)
    share = values / (2**bits - 1)
    check_pixels(data, 255 * (share[:3] * share[3] + 1 - share[3]))


@pytest.mark.parametrize("tile", [0, 16])
def test_an_unspecified_extra_plane_is_ignored(tile: int) -> None:
    values, unspecified = draw_numbers(4, 16), {338: [0]}
    data = build_image(values, RGB, 16, planar=SEPARATE, tile=tile, extra=unspecified)
    check_pixels(data, values[:3] / 257)
    gray = build_image(values[:2], BLACK_IS_ZERO, 16, planar=SEPARATE, tile=tile, extra=unspecified)
    check_pixels(gray, np.repeat(values[:1] / 257, 3, axis=0))


def test_planes_of_cmyk() -> None:
    values = draw_numbers(4, 8)
    data = build_image(values, CMYK, 8, planar=SEPARATE)
    check_pixels(data, 255 * (1 - values[:3] / 255) * (1 - values[3] / 255))


@pytest.mark.parametrize("planar", [CONTIGUOUS, SEPARATE])
@pytest.mark.parametrize(
    ("photometric", "bits"),
    [
        *((WHITE_IS_ZERO, bits) for bits in (1, 2, 4, 8, 16)),
        *((BLACK_IS_ZERO, bits) for bits in (1, 2, 4, 8, 12, 16)),
    ],
)
def test_gray_of_every_bit_depth(photometric: int, bits: int, planar: int) -> None:
    """The planar configuration makes no difference for one channel."""
    values = draw_numbers(1, bits)
    share = values / (2**bits - 1)
    data = build_image(values, photometric, bits, planar=planar)
    light = share if photometric == BLACK_IS_ZERO else 1 - share
    check_pixels(data, np.repeat(255 * light, 3, axis=0))


@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_gray_of_more_than_8_bits_by_hand(compression: int) -> None:
    deep = np.array([[[0, 257, 65535]]])
    twelve = np.array([[[0, 2048, 4095, 16]]])
    white = decode(build_image(deep, WHITE_IS_ZERO, 16, compression=compression))
    assert white[0, :, 0].tolist() == [255, 254, 0]
    assert decode(build_image(twelve, 1, 12, compression=compression))[0, :, 0].tolist() == [
        *(0, 128, 255, 1)
    ]


@pytest.mark.parametrize("planar", [CONTIGUOUS, SEPARATE])
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_color_map_of_8_bits_is_read_as_such(
    bits: int, order: str, compression: int, planar: int
) -> None:
    """As in libtiff, a map without a value above 255 has 8 bits."""
    values = draw_numbers(1, bits)
    colors = np.random.default_rng(1).integers(0, 256, (3, 2**bits))
    colors[0, :2] = 255, 1
    for scale in (1, 256):
        data = build_image(
            *(values, PALETTE, bits),
            planar=planar,
            order=order,
            compression=compression,
            extra={320: (colors * scale).ravel().tolist()},
        )
        assert (decode(data) == np.moveaxis(colors[:, values[0]], 0, -1)).all()


def test_a_color_map_with_one_value_above_255_has_16_bits() -> None:
    values = np.array([[[0, 1]]])
    data = build_image(values, PALETTE, 1, extra={320: [255, 256, 0, 0, 0, 65535]})
    assert decode(data).tolist() == [[[0, 0, 0], [1, 0, 255]]]


@pytest.mark.parametrize(
    ("photometric", "channels", "bits", "how"),
    [
        (CIELAB, 3, 8, {}),
        (CIELAB, 3, 8, {"compression": DEFLATE}),
        (BLACK_IS_ZERO, 2, 8, {"compression": DEFLATE, "extra": {338: [2]}}),
        (CMYK, 4, 16, {}),
        (RGB, 3, 8, {"reverse": True}),
    ],
)
def test_planes_that_cannot_be_combined_are_refused(
    photometric: int, channels: int, bits: int, how: Mapping[str, object]
) -> None:
    data = build_image(draw_numbers(channels, bits), photometric, bits, planar=SEPARATE, **how)  # type: ignore[arg-type]
    with pytest.raises(DecodeError, match=f"{bits} bits.*interleaved") as caught:
        decode(data)
    assert caught.value.problem == "unsupported"


@pytest.mark.parametrize("subsampling", [{}, {530: [2, 2]}, {530: [2, 1]}])
def test_ycbcr_with_fewer_chroma_samples_is_refused(
    subsampling: Mapping[int, Sequence[int]],
) -> None:
    """The file has enough bytes after its strip that Pillow would decode some as pixels."""
    across, down = subsampling.get(530, [2, 2])
    stored = HEIGHT * WIDTH + 2 * (HEIGHT // down) * (WIDTH // across)
    tags = {256: [WIDTH], 257: [HEIGHT], 258: [8] * 3, 259: [NONE], 262: [YCBCR], 277: [3]}
    data = build_tiff(
        {**tags, 278: [HEIGHT], **subsampling}, [bytes(stored)], appended=bytes(3 * HEIGHT * WIDTH)
    )
    with pytest.raises(DecodeError, match="chroma of every pixel") as caught:
        decode(data)
    assert caught.value.problem == "unsupported"


def test_ycbcr_with_all_chroma_samples_is_read() -> None:
    values = np.broadcast_to(np.array([76, 85, 255])[:, None, None], (3, HEIGHT, WIDTH))
    for subsampling in ({}, {530: [1, 1]}):
        pixels = decode(build_image(values, YCBCR, 8, extra=subsampling))
        assert np.abs(pixels - np.array([255, 0, 0])).max() <= 1
