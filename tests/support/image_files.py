"""Image files as they are met, damaged, strange or hostile: each by its row, with its verdict.

Builders only: every file is made from nothing, by its format's specification where Pillow does not
write such. A name begins with the row of the fault table that it is of.
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
    """Smooth, different in every channel, without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / (width - 1), 255 * y / (height - 1), 200 - 100 * x * y / (height * width)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


RGB = ramp()
GREY = RGB[..., 0]
WIDE = np.linspace(0, 65535, 24 * 40).reshape(24, 40).round().astype(np.uint16)
WIDE_RGB = np.stack([WIDE, WIDE[::-1], WIDE[:, ::-1]], -1)
ALPHA = np.full((24, 40, 1), 128, np.uint8)
OVER_WHITE = RGB * (128 / 255) + 255 * (127 / 255)
CMYK = Image.fromarray(RGB).convert("CMYK")


def saved(image: Image.Image | NDArray, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(values: NDArray) -> Pixels:
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size: tuple[int, int], bits: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG file by its specification; `rows` have their filter bytes."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    body = b"".join([chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows, 1))])
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def png16(values: NDArray) -> bytes:
    """16-bit PNG, grey (H, W) or RGB (H, W, 3)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1::-1], 16, 0 if values.ndim == 2 else 2, rows)


def ycck() -> bytes:
    """An Adobe YCCK JPEG that shows RGB: Pillow writes the planes, the marker is patched to 2.

    A file of this kind stores YCbCr of the negative of what it stores as inverted CMY.
    """
    planes = Image.fromarray(255 - RGB).convert("YCbCr").split()
    inverted = [plane.point(lambda v: 255 - v) for plane in planes]
    black = Image.new("L", planes[0].size, 0)
    data = bytearray(saved(Image.merge("CMYK", [*inverted, black]), "JPEG", quality=95))
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    data[marker + 11] = 2
    return bytes(data)


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    return saved(image, "PNG", **({"transparency": 1} if transparent else {}))


def frames(kind: str, **options: object) -> bytes:
    others = [Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1].copy())]
    return saved(RGB, kind, save_all=True, append_images=others, **options)


def long_gif(count: int) -> bytes:
    """An animation of very many frames: the second one of a small file, over and over."""
    one = saved(GREY, "GIF")
    start = one.rindex(b"\x2c" + struct.pack("<HHHH", 0, 0, *GREY.shape[::-1]))
    return one[:-1] + one[start:-1] * count + b";"


def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return saved(noise, "JPEG")


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def zeroed() -> bytes:
    """A JPEG with 200 zeroed bytes in its body, which its decoder passes over."""
    whole = saved(RGB, "JPEG", quality=95)
    start = len(whole) * 3 // 4
    return whole[:start] + bytes(200) + whole[start + 200 :]


TURNS = {  # how a camera held so stores the picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(orientation: int, kind: str = "PNG") -> bytes:
    """What a camera held so would have stored of RGB."""
    upright = Image.fromarray(RGB)
    stored = upright.transpose(TURNS[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    return saved(stored, kind, exif=exif, **options)  # type: ignore[arg-type]


Truth = tuple[Callable[[], bytes], NDArray, float]  # bytes, pixels, mean error allowed

GOOD: dict[str, Truth] = {
    "d3 zeroed bytes.jpg": (zeroed, RGB, 255),
    "d5 a png.jpg": (lambda: saved(RGB, "PNG"), RGB, 0),
    "d5 upper case.JPG": (lambda: saved(RGB, "JPEG", quality=95), RGB, 3),
    "d5 without extension": (lambda: saved(RGB, "PNG"), RGB, 0),
    "d6 progressive.jpg": (lambda: saved(RGB, "JPEG", quality=95, progressive=True), RGB, 3),
    "d6 grey.jpg": (lambda: saved(GREY, "JPEG", quality=95), grey(GREY), 3),
    "d6 cmyk of adobe.jpg": (lambda: saved(CMYK, "JPEG", quality=95), RGB, 15),
    "d6 cmyk.tif": (lambda: saved(CMYK, "TIFF"), RGB, 15),
    "d6 ycck.jpg": (ycck, RGB, 15),
    "d6 ycbcr.tif": (lambda: saved(Image.fromarray(RGB).convert("YCbCr"), "TIFF"), RGB, 3),
    "d6 cielab.tif": (  # L, a, b of sRGB's red
        lambda: saved(Image.new("LAB", (1, 1), (53 * 255 // 100, 128 + 80, 128 + 67)), "TIFF"),
        np.array([[[255, 0, 0]]]),
        7,
    ),
    "d7 bmp.bmp": (lambda: saved(RGB, "BMP"), RGB, 0),
    "d7 ppm.ppm": (lambda: saved(RGB, "PPM"), RGB, 0),
    "d7 ppm as text.ppm": (
        lambda: b"P3 40 24 255\n" + b" ".join(b"%d" % v for v in RGB.ravel()),
        RGB,
        0,
    ),
    "d7 webp.webp": (lambda: saved(RGB, "WEBP", lossless=True), RGB, 0),
    "d7 tiff, lzw.tiff": (lambda: saved(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    "d7 gif.gif": (lambda: saved(GREY, "GIF"), grey(GREY), 0),
    "d7 grey.png": (lambda: saved(GREY, "PNG"), grey(GREY), 0),
    "d7 1 bit.png": (
        lambda: saved(Image.fromarray(GREY > 99), "PNG"),
        grey((GREY > 99) * 255),
        0,
    ),
    "d7 la.png": (
        lambda: saved(Image.fromarray(RGB).convert("LA"), "PNG"),
        grey(Image.fromarray(RGB).convert("L")),  # type: ignore[arg-type]
        0,
    ),
    "d7 rgba.png": (lambda: saved(np.concatenate([RGB, ALPHA], 2), "PNG"), OVER_WHITE, 1),
    "d7 rgba, clear.png": (
        lambda: saved(np.concatenate([RGB, 0 * ALPHA], 2), "PNG"),
        0 * RGB + 255,
        0,
    ),
    "d7 rgba, clear.webp": (
        lambda: saved(np.concatenate([RGB, 0 * ALPHA], 2), "WEBP", lossless=True),
        0 * RGB + 255,
        0,
    ),
    "d7 palette.png": (lambda: palette(False), np.array([[[10, 20, 30], [200, 100, 50]]]), 0),
    "d7 palette, trns.png": (
        lambda: palette(True),
        np.array([[[10, 20, 30], [255, 255, 255]]]),
        0,
    ),
    "d7 rgb, trns.png": (
        lambda: saved(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), "PNG", transparency=(4, 5, 6)),
        np.array([[[1, 2, 3], [255, 255, 255]]]),
        0,
    ),
    "d7 16 bits.png": (lambda: png16(WIDE), grey(0 * WIDE) + WIDE[..., None] / 257, 1),
    "d7 16 bits, trns.png": (
        lambda: png((2, 1), 16, 0, b"\0\x12\x34\x80\x80", chunk(b"tRNS", b"\x12\x34")),
        np.array([[[255] * 3, [128] * 3]]),
        0,
    ),
    "d7 16 bits, rgb.png": (lambda: png16(WIDE_RGB), WIDE_RGB / 257, 1),
    "d7 16 bits.tif": (lambda: saved(WIDE, "TIFF"), grey(0 * WIDE) + WIDE[..., None] / 257, 1),
    "d7 16 bits.pgm": (
        lambda: b"P5 40 24 65535\n" + WIDE.astype(">u2").tobytes(),
        grey(0 * WIDE) + WIDE[..., None] / 257,
        1,
    ),
    "d7 10 bits.pgm": (
        lambda: b"P5 40 24 1023\n" + (WIDE // 64).astype(">u2").tobytes(),
        grey(0 * WIDE) + (WIDE // 64)[..., None] * (255 / 1023),
        1,
    ),
    "d9 animated.gif": (lambda: frames("GIF"), RGB, 30),
    "d9 50,000 frames.gif": (lambda: long_gif(50_000), grey(GREY), 0),
    "d9 animated.webp": (lambda: frames("WEBP", lossless=True), RGB, 0),
    "d9 animated.apng": (lambda: frames("PNG"), RGB, 0),
    "d9 pages.tif": (lambda: frames("TIFF"), RGB, 0),
    "d9 mpo.jpg": (lambda: frames("MPO", quality=95), RGB, 3),
    **{
        f"d12 exif {number}.png": (lambda number=number: turned(number), RGB, 0)
        for number in range(1, 9)
    },
    "d12 exif 6.jpg": (lambda: turned(6, "JPEG"), RGB, 3),
    "d12 corrupt exif.jpg": (
        lambda: saved(RGB, "JPEG", quality=95, exif=b"Exif\0\0MM\0*junk"),
        RGB,
        3,
    ),
    "d12 icc profile.png": (lambda: saved(RGB, "PNG", icc_profile=b"no profile at all"), RGB, 0),
    "d13 1 x 1.png": (lambda: saved(RGB[:1, :1], "PNG"), RGB[:1, :1], 0),
    "d13 1 x 20000.png": (
        lambda: saved(np.resize(RGB, (20000, 1, 3)), "PNG"),
        np.resize(RGB, (20000, 1, 3)),
        0,
    ),
    "d13 65500 x 1.png": (
        lambda: saved(np.resize(RGB, (1, 65500, 3)), "PNG"),
        np.resize(RGB, (1, 65500, 3)),
        0,
    ),
    "d13 65500 x 1.jpg": (
        lambda: saved(np.resize(RGB[:1], (1, 65500, 3)), "JPEG", quality=95),
        np.resize(RGB[:1], (1, 65500, 3)),
        3,
    ),
}

BAD: dict[str, tuple[Callable[[], bytes], str]] = {  # bytes, problem
    "d1 random bytes.jpg": (lambda: np.random.default_rng(0).bytes(4096), "not an image"),
    "d1 web page.jpg": (lambda: b"<!DOCTYPE html><html></html>", "not an image"),
    "d2 a hundredth.jpg": (lambda: jpeg()[: len(jpeg()) // 100], "unreadable"),
    "d2 half.jpg": (lambda: jpeg()[: len(jpeg()) // 2], "unreadable"),
    "d4 half.png": (lambda: saved(RGB, "PNG")[:200], "unreadable"),
    "d4 header only.png": (lambda: saved(RGB, "PNG")[:33], "unreadable"),
    "d4 wrong crc of the header.png": (
        lambda: patched(saved(RGB, "PNG"), b"IHDR\0\0\0\x28", b"IHDR\0\0\0\x29"),
        "unreadable",
    ),
    "d7 floating point.tif": (lambda: saved(np.ones((3, 3), np.float32), "TIFF"), "unsupported"),
    "d7 32 bits.tif": (lambda: saved(np.ones((3, 3), np.int32), "TIFF"), "unsupported"),
    "d7 floating point.pfm": (lambda: b"Pf\n2 2\n-1.0\n" + bytes(16), "unsupported"),
    "d8 12 bits.jpg": (
        lambda: patched(jpeg(), b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        "unreadable",
    ),
    "d8 lossless.jpg": (lambda: patched(jpeg(), b"\xff\xc0", b"\xff\xc3"), "unreadable"),
    "d10 heic.heic": (
        lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        "not an image",
    ),
    "d10 avif.jpg": (
        lambda: saved(RGB, "AVIF") if features.check("avif") else b"\0\0\0\x1cftypavif" + bytes(99),
        "not an image",
    ),
    "d11 svg.svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "d11 eps.jpg": (lambda: saved(RGB, "EPS"), "not an image"),
    "d11 pdf.png": (lambda: saved(RGB, "PDF"), "not an image"),
    "d11 psd.psd": (lambda: b"8BPS\0\1" + bytes(100), "not an image"),
    "d11 fits.fits": (lambda: b"SIMPLE  =                    T" + bytes(2880), "not an image"),
    "d14 9000 x 9000.png": (lambda: png((9000, 9000), 1, 0, b""), "too large"),
    "d14 13000 x 13000.png": (lambda: png((13000, 13000), 1, 0, b""), "too large"),
    "d14 14000 x 14000.png": (lambda: png((14000, 14000), 1, 0, b""), "too large"),
    "d14 2 to the 31 wide.png": (lambda: png((2**31 - 1, 2**31 - 1), 8, 6, b""), "too large"),
    "d14 bomb.gif": (
        lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20),
        "unreadable",
    ),
    "d14 text bomb.png": (
        lambda: png((1, 1), 8, 0, b"\0\0", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
        "unreadable",
    ),
}

EITHER: dict[str, Callable[[], bytes]] = {  # both verdicts are right: the last bytes say "the end"
    "d2 without its last two bytes.jpg": lambda: jpeg()[:-2],
}


def listening(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)  # the path of a socket must be short


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def unreadable(path: Path) -> None:
    path.write_bytes(saved(RGB, "PNG"))
    path.chmod(0)


def outside(path: Path) -> None:
    """A link to an image that does not lie in the data."""
    target = path.parent.parent.parent / "elsewhere.png"
    target.write_bytes(saved(RGB, "PNG"))
    path.symlink_to(target)


STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {  # what makes it, problem
    "d1 zero bytes.jpg": (Path.touch, "empty"),
    "d15 mode 000.png": (unreadable, "unreadable"),
    "d15 dangling link.png": (lambda path: path.symlink_to("nowhere"), "missing"),
    "d15 link to itself.png": (lambda path: path.symlink_to(path.name), "unreadable"),
    "d16 pipe.jpg": (os.mkfifo, "not a regular file"),
    "d16 socket.jpg": (listening, "not a regular file"),
    "d16 device.jpg": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "d17 sparse, 10 GB.jpg": (sparse, "too large"),
}

VANISHING = "d17 vanishing.png"  # whoever builds the files takes it away in time

LINKS: dict[str, Callable[[Path], object]] = {  # read as what they lead to: RGB
    "d15 link.png": lambda path: path.symlink_to("d5 a png.jpg"),
    "d15 link out of the tree.png": outside,
}


VERDICTS: dict[str, str] = {
    **dict.fromkeys({**GOOD, **LINKS}, ""),
    **{name: problem for name, (_, problem) in {**BAD, **STRANGE}.items()},
    VANISHING: "missing",
}
"""By name, what is wrong with a file, "" where it is read; `EITHER` is not in it."""


def build(folder: Path) -> None:
    """Every file, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, *_) in {**GOOD, **BAD}.items():
        (folder / name).write_bytes(make())
    for name, make in EITHER.items():
        (folder / name).write_bytes(make())
    for name, (strange, _) in STRANGE.items():
        strange(folder / name)
    for name, link in LINKS.items():
        link(folder / name)
    (folder / "d16 folder.jpg").mkdir()
    (folder / VANISHING).write_bytes(saved(RGB, "PNG"))


def many_scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose every scan, of a few bytes, goes over all of a large image."""
    table = bytes([1, *[0] * 15])  # a Huffman code of one word
    size = struct.pack(">HH", side, side)
    return b"".join(
        [
            b"\xff\xd8\xff\xdb\0\x43\0" + bytes([1] * 64),
            b"\xff\xc2\0\x0b\x08" + size + b"\x01\x01\x11\0",
            b"\xff\xc4\0\x14\0" + table + b"\0",
            b"\xff\xc4\0\x14\x10" + table + b"\xe0",  # so many blocks end here
            b"\xff\xda\0\x08\x01\x01\0\0\0\0\0",
            b"\xff\xda\0\x08\x01\x01\0\x01\x3f\0\0" * count,
            b"\xff\xd9",
        ]
    )


def gradient(side: int) -> Image.Image:
    return Image.linear_gradient("L").resize((side, side)).convert("RGB")


HEAVY: dict[str, tuple[Callable[[], bytes], str]] = {  # as large as may be, or a little larger
    "d14 8000 x 8000.png": (lambda: saved(gradient(8000), "PNG", compress_level=1), ""),
    "d14 7400 x 7400, progressive.jpg": (
        lambda: saved(gradient(7400), "JPEG", subsampling=0, progressive=True),
        "",
    ),
    "d14 8000 x 8000.webp": (lambda: saved(gradient(8000), "WEBP", method=0), "too large"),
    "d14 a hundred scans.jpg": (lambda: many_scans(4000, 100), ""),
    "d14 a thousand scans.jpg": (lambda: many_scans(8000, 1000), "too large"),
    "d14 4 million pixels as text.ppm": (lambda: b"P3 2000 2000 255\n" + b"1 " * 99, "too large"),
    "d14 4 million pixels of 10 bits.pgm": (
        lambda: b"P5 2000 2000 1023\n" + bytes(8_000_000),
        "too large",
    ),
}
