"""Bytes to pixels: each kind of image has the pixels it should, all else is a DecodeError."""

import os
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, features

from veduta.data import decode as module
from veduta.data.decode import MOST_PIXELS, calm, decode, read_file
from veduta.errors import DecodeError

Pixels = NDArray[np.uint8]


def ramp(height: int = 24, width: int = 40) -> Pixels:
    """Smooth, different in every channel, without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / (width - 1), 255 * y / (height - 1), 200 - 100 * x * y / (height * width)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


RGB = ramp()
GREY = RGB[..., 0]


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
    image.putdata([0, 1]) if not hasattr(image, "set_data") else image.putpixel((1, 0), 1)
    return saved(image, "PNG", **({"transparency": 1} if transparent else {}))


def frames(kind: str, **options: object) -> bytes:
    others = [Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1].copy())]
    return saved(RGB, kind, save_all=True, append_images=others, **options)


def long_gif(count: int) -> bytes:
    """An animation of very many frames: the second one of a small file, over and over."""
    one = saved(GREY, "GIF")
    start = one.rindex(b"\x2c" + struct.pack("<HHHH", 0, 0, *GREY.shape[::-1]))
    return one[:-1] + one[start:-1] * count + b";"


WIDE = np.linspace(0, 65535, 24 * 40).reshape(24, 40).round().astype(np.uint16)
WIDE_RGB = np.stack([WIDE, WIDE[::-1], WIDE[:, ::-1]], -1)
ALPHA = np.full((24, 40, 1), 128, np.uint8)
OVER_WHITE = RGB * (128 / 255) + 255 * (127 / 255)
CMYK = Image.fromarray(RGB).convert("CMYK")

GOOD: dict[str, tuple[Callable[[], bytes], NDArray, float]] = {  # bytes, truth, mean error allowed
    "png": (lambda: saved(RGB, "PNG"), RGB, 0),
    "jpeg": (lambda: saved(RGB, "JPEG", quality=95), RGB, 3),
    "progressive jpeg": (lambda: saved(RGB, "JPEG", quality=95, progressive=True), RGB, 3),
    "grey jpeg": (lambda: saved(GREY, "JPEG", quality=95), grey(GREY), 3),
    "bmp": (lambda: saved(RGB, "BMP"), RGB, 0),
    "ppm": (lambda: saved(RGB, "PPM"), RGB, 0),
    "webp": (lambda: saved(RGB, "WEBP", lossless=True), RGB, 0),
    "tiff": (lambda: saved(RGB, "TIFF"), RGB, 0),
    "tiff, lzw": (lambda: saved(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    "gif": (lambda: saved(GREY, "GIF"), grey(GREY), 0),
    "L": (lambda: saved(GREY, "PNG"), grey(GREY), 0),
    "1 bit": (lambda: saved(Image.fromarray(GREY > 99), "PNG"), grey((GREY > 99) * 255), 0),
    "LA": (
        lambda: saved(Image.fromarray(RGB).convert("LA"), "PNG"),
        grey(Image.fromarray(RGB).convert("L")),
        0,
    ),
    "RGBA": (lambda: saved(np.concatenate([RGB, ALPHA], 2), "PNG"), OVER_WHITE, 1),
    "RGBA, clear": (lambda: saved(np.concatenate([RGB, 0 * ALPHA], 2), "PNG"), 0 * RGB + 255, 0),
    "RGBA webp, clear": (
        lambda: saved(np.concatenate([RGB, 0 * ALPHA], 2), "WEBP", lossless=True),
        0 * RGB + 255,
        0,
    ),
    "P": (lambda: palette(False), np.array([[[10, 20, 30], [200, 100, 50]]]), 0),
    "P, tRNS": (lambda: palette(True), np.array([[[10, 20, 30], [255, 255, 255]]]), 0),
    "RGB, tRNS": (
        lambda: saved(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), "PNG", transparency=(4, 5, 6)),
        np.array([[[1, 2, 3], [255, 255, 255]]]),
        0,
    ),
    "16 bits": (lambda: png16(WIDE), grey(0 * WIDE) + WIDE[..., None] / 257, 1),
    "16 bits, tRNS": (
        lambda: png((2, 1), 16, 0, b"\0\x12\x34\x80\x80", chunk(b"tRNS", b"\x12\x34")),
        np.array([[[255] * 3, [128] * 3]]),
        0,
    ),
    "16 bits, RGB": (lambda: png16(WIDE_RGB), WIDE_RGB / 257, 1),
    "16 bits, tiff": (lambda: saved(WIDE, "TIFF"), grey(0 * WIDE) + WIDE[..., None] / 257, 1),
    "16 bits, pgm": (
        lambda: b"P5 40 24 65535\n" + WIDE.astype(">u2").tobytes(),
        grey(0 * WIDE) + WIDE[..., None] / 257,
        1,
    ),
    "10 bits, pgm": (
        lambda: b"P5 40 24 1023\n" + (WIDE // 64).astype(">u2").tobytes(),
        grey(0 * WIDE) + (WIDE // 64)[..., None] * (255 / 1023),
        1,
    ),
    "CMYK, Adobe": (lambda: saved(CMYK, "JPEG", quality=95), RGB, 15),
    "CMYK, tiff": (lambda: saved(CMYK, "TIFF"), RGB, 15),
    "YCCK": (ycck, RGB, 15),
    "YCbCr tiff": (lambda: saved(Image.fromarray(RGB).convert("YCbCr"), "TIFF"), RGB, 3),
    "CIELAB tiff": (  # L, a, b of sRGB's red
        lambda: saved(Image.new("LAB", (1, 1), (53 * 255 // 100, 128 + 80, 128 + 67)), "TIFF"),
        np.array([[[255, 0, 0]]]),
        7,
    ),
    "animated gif": (lambda: frames("GIF"), RGB, 30),
    "50,000 frames": (lambda: long_gif(50_000), grey(GREY), 0),
    "animated webp": (lambda: frames("WEBP", lossless=True), RGB, 0),
    "apng": (lambda: frames("PNG"), RGB, 0),
    "tiff of pages": (lambda: frames("TIFF"), RGB, 0),
    "mpo": (lambda: frames("MPO", quality=95), RGB, 3),
    "icc profile": (lambda: saved(RGB, "PNG", icc_profile=b"no profile at all"), RGB, 0),
    "corrupt exif": (lambda: saved(RGB, "JPEG", quality=95, exif=b"Exif\0\0MM\0*junk"), RGB, 3),
    "1 x 1": (lambda: saved(RGB[:1, :1], "PNG"), RGB[:1, :1], 0),
    "1 x 20000": (
        lambda: saved(np.resize(RGB, (20000, 1, 3)), "PNG"),
        np.resize(RGB, (20000, 1, 3)),
        0,
    ),
    "65500 x 1": (
        lambda: saved(np.resize(RGB, (1, 65500, 3)), "PNG"),
        np.resize(RGB, (1, 65500, 3)),
        0,
    ),
}


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_has_the_pixels_it_should(kind: str) -> None:
    make, truth, allowed = GOOD[kind]
    data = make()
    began = time.process_time()
    pixels = decode(data)
    assert time.process_time() - began < 2
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.shape == truth.shape
    error = pixels.astype(float) - truth
    assert np.abs(error).mean() <= allowed
    if kind.startswith("16"):
        assert abs(error.mean()) < 1


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return saved(noise, "JPEG")


def header_of(data: bytes) -> bytes:
    return data[:33]  # signature and IHDR


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "random bytes": (lambda: np.random.default_rng(0).bytes(4096), "not an image"),
    "web page": (lambda: b"<!DOCTYPE html><html></html>", "not an image"),
    "jpeg, 1 %": (lambda: jpeg()[: len(jpeg()) // 100], "unreadable"),
    "jpeg, half": (lambda: jpeg()[: len(jpeg()) // 2], "unreadable"),
    "png, half": (lambda: saved(RGB, "PNG")[:200], "unreadable"),
    "png, header only": (lambda: header_of(saved(RGB, "PNG")), "unreadable"),
    "png, wrong crc": (
        lambda: patched(saved(RGB, "PNG"), b"IHDR\0\0\0\x28", b"IHDR\0\0\0\x29"),
        "*",
    ),
    "jpeg of 12 bits": (lambda: patched(jpeg(), b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "*"),
    "jpeg, lossless": (lambda: patched(jpeg(), b"\xff\xc0", b"\xff\xc3"), "*"),
    "float tiff": (lambda: saved(np.ones((3, 3), np.float32), "TIFF"), "unsupported"),
    "int tiff": (lambda: saved(np.ones((3, 3), np.int32), "TIFF"), "unsupported"),
    "pfm": (lambda: b"Pf\n2 2\n-1.0\n" + bytes(16), "unsupported"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "eps": (lambda: saved(RGB, "EPS"), "not an image"),
    "pdf": (lambda: saved(RGB, "PDF"), "not an image"),
    "psd": (lambda: b"8BPS\0\1" + bytes(100), "not an image"),
    "fits": (lambda: b"SIMPLE  =                    T" + bytes(2880), "not an image"),
    "heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "not an image"),
    "9000 x 9000": (lambda: png((9000, 9000), 1, 0, b""), "too large"),
    "13000 x 13000": (lambda: png((13000, 13000), 1, 0, b""), "too large"),
    "14000 x 14000": (lambda: png((14000, 14000), 1, 0, b""), "too large"),
    "png, 2^31 wide": (lambda: png((2**31 - 1, 2**31 - 1), 8, 6, b""), "too large"),
    "gif bomb": (lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20), "*"),
    "text bomb": (
        lambda: png((1, 1), 8, 0, b"\0\0", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
        "unreadable",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_bad_file_has_its_verdict(kind: str) -> None:
    make, problem = BAD[kind]
    data = make()
    began = time.process_time()
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert time.process_time() - began < 2
    assert problem in {caught.value.problem, "*"}
    assert caught.value.detail
    assert "\n" not in str(caught.value)


def test_an_avif_file_gets_a_hint() -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    with pytest.raises(DecodeError, match="this is an AVIF image; save it as PNG or JPEG"):
        decode(saved(RGB, "AVIF"))


def verdict(data: bytes) -> str:
    try:
        return str(decode(data).shape)
    except DecodeError as error:
        return error.problem


def test_what_cannot_be_detected_does_no_harm() -> None:
    whole = jpeg()
    middle = len(whole) // 2
    zeroed = whole[:middle] + bytes(200) + whole[middle + 200 :]
    assert verdict(whole) == "(64, 64, 3)"
    assert verdict(zeroed) in {"(64, 64, 3)", "unreadable"}
    assert verdict(whole[:-2]) in {"(64, 64, 3)", "unreadable"}  # they say only that it ends


TURNS = {  # how a camera held so stores the picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_as_its_camera_was_held(orientation: int, kind: str) -> None:
    upright = Image.fromarray(RGB)
    stored = upright.transpose(TURNS[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    pixels = decode(saved(stored, kind, exif=exif, **options))
    assert pixels.shape == RGB.shape
    assert np.abs(pixels.astype(int) - RGB).mean() <= (3 if kind == "JPEG" else 0)


def test_orientation_6_by_hand() -> None:
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)  # row 0 is the right, column 0 the top
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(stored, "PNG", exif=exif))[..., 0].tolist() == [[4, 1], [5, 2], [6, 3]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_strips_make_no_difference(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {
        "RGB": saved(RGB, "PNG"),
        "RGBA": saved(np.concatenate([RGB, ALPHA], 2), "PNG"),
        "I;16": png16(WIDE),
    }[mode]
    whole = decode(data)
    monkeypatch.setattr(module, "STRIP", 100)
    assert (decode(data) == whole).all()


SEEDS = [make() for make, truth, _ in GOOD.values() if truth.size < 4000]


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=8)), max_size=6),
    cut=st.integers(0, 10**6),
)
def test_whatever_the_bytes_only_our_error_comes_out(
    seed: bytes, edits: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(seed)
    for place, content in edits:
        start = place % len(data)
        data[start : start + len(content)] = content
    try:
        pixels = decode(bytes(data[: cut % (2 * len(data)) + 1]))
    except DecodeError:
        return
    assert pixels.shape[2] == 3
    assert pixels.size <= 3 * MOST_PIXELS


def test_the_verdict_does_not_depend_on_warning_filters() -> None:
    data = GOOD["corrupt exif"][0]()
    verdicts = []
    for action in ("error", "ignore", "always"):
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter(action)  # type: ignore[arg-type]
            verdicts.append(decode(data))
            with pytest.raises(DecodeError):
                decode(BAD["13000 x 13000"][0]())
        assert not shown
    assert (verdicts[0] == verdicts[1]).all()
    assert (verdicts[0] == verdicts[2]).all()


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    data = [GOOD["corrupt exif"][0](), BAD["13000 x 13000"][0]()]

    def work() -> None:
        for one in data * 20:
            with calm():
                try:
                    decode(one)
                except DecodeError:
                    continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


MEASURE = """
import resource, sys, time
from pathlib import Path
from veduta.data.decode import decode
data = Path(sys.argv[1]).read_bytes()
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
decode(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base, time.process_time() - began)
"""


def test_the_largest_image_stays_within_its_memory(tmp_path: Path) -> None:
    side = int(MOST_PIXELS**0.5)
    path = tmp_path / "large.png"
    path.write_bytes(png((side, side), 8, 2, bytes((3 * side + 1) * side)))
    command = [sys.executable, "-c", MEASURE, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    kilobytes, seconds = map(float, result.stdout.split())
    assert kilobytes < 600_000
    assert seconds < 3


def test_read_file_gives_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert read_file(path) == b"abc"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_file(link) == b"abc"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda _: None, "missing"),
    "empty": (Path.touch, "empty"),
    "folder": (Path.mkdir, "not a regular file"),
    "pipe": (fifo, "not a regular file"),
    "socket": (listening, "not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "missing"),
    "link to itself": (lambda path: path.symlink_to(path.name), "unreadable"),
    "sparse 10 GB": (sparse, "too large"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_files_have_their_verdict(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    make, problem = STRANGE[kind]
    make(Path("x.jpg"))
    with pytest.raises(DecodeError) as caught:
        read_file(Path("x.jpg"))
    assert caught.value.problem == problem


def test_an_unreadable_file_is_said_to_be_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "x.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(DecodeError, match="unreadable: Permission denied"):
        read_file(path)
