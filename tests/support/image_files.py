"""Image files: usual, unusual, damaged and malicious ones, each with the expected verdict.

All files are generated, by the specification of their format where Pillow cannot write them.
"""

import contextlib
import os
import socket
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

Pixels = NDArray[np.uint8]


def ramp(height: int = 24, width: int = 40) -> Pixels:
    """Return a smooth image without symmetry whose channels differ."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / (width - 1), 255 * y / (height - 1), 200 - 100 * x * y / (height * width)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


RGB = ramp()
GRAY = RGB[..., 0]
WIDE = np.linspace(0, 65535, 24 * 40).reshape(24, 40).round().astype(np.uint16)
WIDE_RGB = np.stack([WIDE, WIDE[::-1], WIDE[:, ::-1]], -1)
ALPHA = np.full((24, 40, 1), 128, np.uint8)
OVER_WHITE = RGB * (128 / 255) + 255 * (127 / 255)
CMYK = Image.fromarray(RGB).convert("CMYK")


def encode(image: Image.Image | NDArray, kind: str, **options: object) -> bytes:
    """Return the bytes of an image file."""
    buffer = BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def repeat_channel(values: NDArray) -> Pixels:
    """Return an RGB image with three equal channels."""
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def make_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def make_png(
    size: tuple[int, int], bits: int, color_type: int, rows: bytes, *extra: bytes
) -> bytes:
    """Return a PNG file by its specification; `rows` contain their filter bytes."""
    header = struct.pack(">IIBBBBB", *size, bits, color_type, 0, 0, 0)
    body = b"".join(
        [make_chunk(b"IHDR", header), *extra, make_chunk(b"IDAT", zlib.compress(rows, 1))]
    )
    return b"\x89PNG\r\n\x1a\n" + body + make_chunk(b"IEND", b"")


def make_png16(values: NDArray) -> bytes:
    """Return a 16-bit PNG file, gray (H, W) or RGB (H, W, 3)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return make_png(values.shape[1::-1], 16, 0 if values.ndim == 2 else 2, rows)


def make_ycck() -> bytes:
    """Return an Adobe YCCK JPEG of RGB: Pillow writes the planes, the marker is patched to 2.

    Such a file stores the YCbCr values of the negative as inverted CMY values.
    """
    planes = Image.fromarray(255 - RGB).convert("YCbCr").split()
    inverted = [plane.point(lambda v: 255 - v) for plane in planes]
    black = Image.new("L", planes[0].size, 0)
    data = bytearray(encode(Image.merge("CMYK", [*inverted, black]), "JPEG", quality=95))
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    data[marker + 11] = 2
    return bytes(data)


def make_palette_png(transparent: bool) -> bytes:
    """Return a PNG of two pixels with a palette."""
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    return encode(image, "PNG", **({"transparency": 1} if transparent else {}))


def make_animation(kind: str, **options: object) -> bytes:
    """Return a file of three images of which the first is RGB."""
    others = [Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1].copy())]
    return encode(RGB, kind, save_all=True, append_images=others, **options)


def make_long_gif(count: int) -> bytes:
    """Return an animation that repeats a frame very often."""
    one = encode(GRAY, "GIF")
    start = one.rindex(b"\x2c" + struct.pack("<HHHH", 0, 0, *GRAY.shape[::-1]))
    return one[:-1] + one[start:-1] * count + b";"


def make_noise_jpeg() -> bytes:
    """Return a JPEG of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encode(noise, "JPEG")


def replace_bytes(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return data in which `old`, which they contain, is replaced once."""
    assert old in data
    return data.replace(old, new, 1)


def make_zeroed_jpeg() -> bytes:
    """Return a JPEG with 200 zeros in its data, which decoders accept."""
    whole = encode(RGB, "JPEG", quality=95)
    start = len(whole) * 3 // 4
    return whole[:start] + bytes(200) + whole[start + 200 :]


TRANSPOSITIONS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encode_oriented(orientation: int, kind: str = "PNG") -> bytes:
    """Return a file of RGB as stored by a camera with this EXIF orientation."""
    upright = Image.fromarray(RGB)
    stored = upright.transpose(TRANSPOSITIONS[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    return encode(stored, kind, exif=exif, **options)  # type: ignore[arg-type]


Expected = tuple[Callable[[], bytes], NDArray, float]
"""Function that returns the file, its pixels, and the allowed mean error."""

GOOD: dict[str, Expected] = {
    "zeroed bytes.jpg": (make_zeroed_jpeg, RGB, 255),
    "a png.jpg": (lambda: encode(RGB, "PNG"), RGB, 0),
    "upper case.JPG": (lambda: encode(RGB, "JPEG", quality=95), RGB, 3),
    "without extension": (lambda: encode(RGB, "PNG"), RGB, 0),
    "progressive.jpg": (lambda: encode(RGB, "JPEG", quality=95, progressive=True), RGB, 3),
    "gray.jpg": (lambda: encode(GRAY, "JPEG", quality=95), repeat_channel(GRAY), 3),
    "cmyk of adobe.jpg": (lambda: encode(CMYK, "JPEG", quality=95), RGB, 15),
    "cmyk.tif": (lambda: encode(CMYK, "TIFF"), RGB, 15),
    "ycck.jpg": (make_ycck, RGB, 15),
    "ycbcr.tif": (lambda: encode(Image.fromarray(RGB).convert("YCbCr"), "TIFF"), RGB, 3),
    "cielab.tif": (  # L, a, b of red in sRGB
        lambda: encode(Image.new("LAB", (1, 1), (53 * 255 // 100, 128 + 80, 128 + 67)), "TIFF"),
        np.array([[[255, 0, 0]]]),
        7,
    ),
    "bmp.bmp": (lambda: encode(RGB, "BMP"), RGB, 0),
    "ppm.ppm": (lambda: encode(RGB, "PPM"), RGB, 0),
    "ppm as text.ppm": (
        lambda: b"P3 40 24 255\n" + b" ".join(b"%d" % v for v in RGB.ravel()),
        RGB,
        0,
    ),
    "webp.webp": (lambda: encode(RGB, "WEBP", lossless=True), RGB, 0),
    "tiff, lzw.tiff": (lambda: encode(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    "gif.gif": (lambda: encode(GRAY, "GIF"), repeat_channel(GRAY), 0),
    "gray.png": (lambda: encode(GRAY, "PNG"), repeat_channel(GRAY), 0),
    "1 bit.png": (
        lambda: encode(Image.fromarray(GRAY > 99), "PNG"),
        repeat_channel((GRAY > 99) * 255),
        0,
    ),
    "la.png": (
        lambda: encode(Image.fromarray(RGB).convert("LA"), "PNG"),
        repeat_channel(Image.fromarray(RGB).convert("L")),  # type: ignore[arg-type]
        0,
    ),
    "rgba.png": (lambda: encode(np.concatenate([RGB, ALPHA], 2), "PNG"), OVER_WHITE, 1),
    "rgba, clear.png": (
        lambda: encode(np.concatenate([RGB, 0 * ALPHA], 2), "PNG"),
        0 * RGB + 255,
        0,
    ),
    "rgba, clear.webp": (
        lambda: encode(np.concatenate([RGB, 0 * ALPHA], 2), "WEBP", lossless=True),
        0 * RGB + 255,
        0,
    ),
    "palette.png": (lambda: make_palette_png(False), np.array([[[10, 20, 30], [200, 100, 50]]]), 0),
    "palette, trns.png": (
        lambda: make_palette_png(True),
        np.array([[[10, 20, 30], [255, 255, 255]]]),
        0,
    ),
    "rgb, trns.png": (
        lambda: encode(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), "PNG", transparency=(4, 5, 6)),
        np.array([[[1, 2, 3], [255, 255, 255]]]),
        0,
    ),
    "16 bits.png": (lambda: make_png16(WIDE), repeat_channel(0 * WIDE) + WIDE[..., None] / 257, 1),
    "16 bits, trns.png": (
        lambda: make_png((2, 1), 16, 0, b"\0\x12\x34\x80\x80", make_chunk(b"tRNS", b"\x12\x34")),
        np.array([[[255] * 3, [128] * 3]]),
        0,
    ),
    "16 bits, rgb.png": (lambda: make_png16(WIDE_RGB), WIDE_RGB / 257, 1),
    "16 bits.tif": (
        lambda: encode(WIDE, "TIFF"),
        repeat_channel(0 * WIDE) + WIDE[..., None] / 257,
        1,
    ),
    "16 bits.pgm": (
        lambda: b"P5 40 24 65535\n" + WIDE.astype(">u2").tobytes(),
        repeat_channel(0 * WIDE) + WIDE[..., None] / 257,
        1,
    ),
    "10 bits.pgm": (
        lambda: b"P5 40 24 1023\n" + (WIDE // 64).astype(">u2").tobytes(),
        repeat_channel(0 * WIDE) + (WIDE // 64)[..., None] * (255 / 1023),
        1,
    ),
    "animated.gif": (lambda: make_animation("GIF"), RGB, 30),
    "50,000 frames.gif": (lambda: make_long_gif(50_000), repeat_channel(GRAY), 0),
    "animated.webp": (lambda: make_animation("WEBP", lossless=True), RGB, 0),
    "animated.apng": (lambda: make_animation("PNG"), RGB, 0),
    "pages.tif": (lambda: make_animation("TIFF"), RGB, 0),
    "mpo.jpg": (lambda: make_animation("MPO", quality=95), RGB, 3),
    **{
        f"exif {number}.png": (lambda number=number: encode_oriented(number), RGB, 0)
        for number in range(1, 9)
    },
    "exif 6.jpg": (lambda: encode_oriented(6, "JPEG"), RGB, 3),
    "corrupt exif.jpg": (
        lambda: encode(RGB, "JPEG", quality=95, exif=b"Exif\0\0MM\0*junk"),
        RGB,
        3,
    ),
    "icc profile.png": (lambda: encode(RGB, "PNG", icc_profile=b"no profile at all"), RGB, 0),
    "1 x 1.png": (lambda: encode(RGB[:1, :1], "PNG"), RGB[:1, :1], 0),
    "1 x 20000.png": (
        lambda: encode(np.resize(RGB, (20000, 1, 3)), "PNG"),
        np.resize(RGB, (20000, 1, 3)),
        0,
    ),
    "65500 x 1.png": (
        lambda: encode(np.resize(RGB, (1, 65500, 3)), "PNG"),
        np.resize(RGB, (1, 65500, 3)),
        0,
    ),
    "65500 x 1.jpg": (
        lambda: encode(np.resize(RGB[:1], (1, 65500, 3)), "JPEG", quality=95),
        np.resize(RGB[:1], (1, 65500, 3)),
        3,
    ),
}

BAD: dict[str, tuple[Callable[[], bytes], str]] = {  # function that returns the file, problem
    "random bytes.jpg": (lambda: np.random.default_rng(0).bytes(4096), "not an image"),
    "web page.jpg": (lambda: b"<!DOCTYPE html><html></html>", "not an image"),
    "a hundredth.jpg": (lambda: make_noise_jpeg()[: len(make_noise_jpeg()) // 100], "unreadable"),
    "half.jpg": (lambda: make_noise_jpeg()[: len(make_noise_jpeg()) // 2], "unreadable"),
    "half.png": (lambda: encode(RGB, "PNG")[:200], "unreadable"),
    "header only.png": (lambda: encode(RGB, "PNG")[:33], "unreadable"),
    "wrong crc of the header.png": (
        lambda: replace_bytes(encode(RGB, "PNG"), b"IHDR\0\0\0\x28", b"IHDR\0\0\0\x29"),
        "unreadable",
    ),
    "floating point.tif": (lambda: encode(np.ones((3, 3), np.float32), "TIFF"), "unsupported"),
    "32 bits.tif": (lambda: encode(np.ones((3, 3), np.int32), "TIFF"), "unsupported"),
    "floating point.pfm": (lambda: b"Pf\n2 2\n-1.0\n" + bytes(16), "unsupported"),
    "12 bits.jpg": (
        lambda: replace_bytes(make_noise_jpeg(), b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        "unreadable",
    ),
    "lossless.jpg": (
        lambda: replace_bytes(make_noise_jpeg(), b"\xff\xc0", b"\xff\xc3"),
        "unreadable",
    ),
    "heic.heic": (
        lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        "not an image",
    ),
    "avif.jpg": (
        lambda: (
            encode(RGB, "AVIF") if features.check("avif") else b"\0\0\0\x1cftypavif" + bytes(99)
        ),
        "not an image",
    ),
    "svg.svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "eps.jpg": (lambda: encode(RGB, "EPS"), "not an image"),
    "pdf.png": (lambda: encode(RGB, "PDF"), "not an image"),
    "psd.psd": (lambda: b"8BPS\0\1" + bytes(100), "not an image"),
    "fits.fits": (lambda: b"SIMPLE  =                    T" + bytes(2880), "not an image"),
    "9000 x 9000.png": (lambda: make_png((9000, 9000), 1, 0, b""), "too large"),
    "13000 x 13000.png": (lambda: make_png((13000, 13000), 1, 0, b""), "too large"),
    "14000 x 14000.png": (lambda: make_png((14000, 14000), 1, 0, b""), "too large"),
    "2 to the 31 wide.png": (lambda: make_png((2**31 - 1, 2**31 - 1), 8, 6, b""), "too large"),
    "bomb.gif": (
        lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20),
        "unreadable",
    ),
    "text bomb.png": (
        lambda: make_png(
            (1, 1), 8, 0, b"\0\0", make_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))
        ),
        "unreadable",
    ),
}

EITHER: dict[str, Callable[[], bytes]] = {  # can be accepted or rejected: the end marker is missing
    "without its last two bytes.jpg": lambda: make_noise_jpeg()[:-2],
}


def create_socket(path: Path) -> None:
    """Create a socket."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as file:
        file.bind(path.name)  # the path of a socket must be short


def write_sparse(path: Path) -> None:
    """Write 10 GB of zeros that take no space."""
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def write_unreadable(path: Path) -> None:
    """Write an image that may not be read."""
    path.write_bytes(encode(RGB, "PNG"))
    path.chmod(0)


def link_outside(path: Path) -> None:
    """Create a link to an image outside of the data."""
    target = path.parent.parent.parent / "elsewhere.png"
    target.write_bytes(encode(RGB, "PNG"))
    path.symlink_to(target)


STRANGE: dict[
    str, tuple[Callable[[Path], object], str]
] = {  # function that creates the file, problem
    "zero bytes.jpg": (Path.touch, "empty"),
    "mode 000.png": (write_unreadable, "unreadable"),
    "dangling link.png": (lambda path: path.symlink_to("nowhere"), "missing"),
    "link to itself.png": (lambda path: path.symlink_to(path.name), "unreadable"),
    "pipe.jpg": (os.mkfifo, "not a regular file"),
    "socket.jpg": (create_socket, "not a regular file"),
    "device.jpg": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "sparse, 10 GB.jpg": (write_sparse, "too large"),
}

VANISHING = "vanishing.png"  # tests remove it between listing and reading

LINKS: dict[str, Callable[[Path], object]] = {  # their targets are images of RGB
    "link.png": lambda path: path.symlink_to("a png.jpg"),
    "link out of the tree.png": link_outside,
}


VERDICTS: dict[str, str] = {
    **dict.fromkeys({**GOOD, **LINKS}, ""),
    **{name: problem for name, (_, problem) in {**BAD, **STRANGE}.items()},
    VANISHING: "missing",
}
"""Problem of each file by name, "" if it is accepted, without the files of `EITHER`."""


def create_image_files(folder: Path) -> None:
    """Create all files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, *_) in {**GOOD, **BAD}.items():
        (folder / name).write_bytes(make())
    for name, make in EITHER.items():
        (folder / name).write_bytes(make())
    for name, (strange, _) in STRANGE.items():
        strange(folder / name)
    for name, link in LINKS.items():
        link(folder / name)
    (folder / "folder.jpg").mkdir()
    (folder / VANISHING).write_bytes(encode(RGB, "PNG"))


def make_many_scans(side: int, count: int) -> bytes:
    """Return a progressive JPEG with small scans that each cover all of a large image."""
    table = bytes([1, *[0] * 15])  # a Huffman code with one word
    size = struct.pack(">HH", side, side)
    return b"".join(
        [
            b"\xff\xd8\xff\xdb\0\x43\0" + bytes([1] * 64),
            b"\xff\xc2\0\x0b\x08" + size + b"\x01\x01\x11\0",
            b"\xff\xc4\0\x14\0" + table + b"\0",
            b"\xff\xc4\0\x14\x10" + table + b"\xe0",  # number of blocks that end here
            b"\xff\xda\0\x08\x01\x01\0\0\0\0\0",
            b"\xff\xda\0\x08\x01\x01\0\x01\x3f\0\0" * count,
            b"\xff\xd9",
        ]
    )


def make_gradient(side: int) -> Image.Image:
    """Return a large image."""
    return Image.linear_gradient("L").resize((side, side)).convert("RGB")


HEAVY: dict[str, tuple[Callable[[], bytes], str]] = {  # at the limits of size, or slightly beyond
    "8000 x 8000.png": (lambda: encode(make_gradient(8000), "PNG", compress_level=1), ""),
    "7400 x 7400, progressive.jpg": (
        lambda: encode(make_gradient(7400), "JPEG", subsampling=0, progressive=True),
        "",
    ),
    "8000 x 8000.webp": (lambda: encode(make_gradient(8000), "WEBP", method=0), "too large"),
    "a hundred scans.jpg": (lambda: make_many_scans(4000, 100), ""),
    "a thousand scans.jpg": (lambda: make_many_scans(8000, 1000), "too large"),
    "4 million pixels as text.ppm": (lambda: b"P3 2000 2000 255\n" + b"1 " * 99, "too large"),
    "4 million pixels of 10 bits.pgm": (
        lambda: b"P5 2000 2000 1023\n" + bytes(8_000_000),
        "too large",
    ),
}
