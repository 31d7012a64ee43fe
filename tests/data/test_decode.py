"""Decoding: each kind of image gives the expected pixels, all other files a DecodeError."""

import io
import os
import resource
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from tests.support.image_files import (
    ALPHA,
    BAD,
    EITHER,
    GOOD,
    RGB,
    STRANGE,
    WIDE,
    encode,
    encode_oriented,
    make_png,
    make_png16,
)
from veduta.data import decode as decode_module
from veduta.data.decode import MAX_PIXELS, decode, filter_pillow_warnings, read_file
from veduta.errors import DecodeError, VedutaError


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_has_the_expected_pixels(kind: str) -> None:
    make, expected, tolerance = GOOD[kind]
    data = make()
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.shape == expected.shape
    error = pixels.astype(float) - expected
    assert np.abs(error).mean() <= tolerance
    if "16 bits" in kind:
        assert abs(error.mean()) < 1


@pytest.mark.parametrize("kind", BAD)
def test_each_bad_file_has_the_expected_problem(kind: str) -> None:
    make, problem = BAD[kind]
    data = make()
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.problem == problem
    assert caught.value.detail
    assert "\n" not in str(caught.value)


def test_an_avif_file_gets_a_hint() -> None:
    with pytest.raises(DecodeError, match="this is an AVIF image; save it as PNG or JPEG"):
        decode(BAD["avif.jpg"][0]())


@pytest.mark.parametrize("kind", EITHER)
def test_files_that_may_or_may_not_be_readable_cause_no_other_error(kind: str) -> None:
    try:
        outcome = str(decode(EITHER[kind]()).shape)
    except DecodeError as error:
        outcome = error.problem
    assert outcome in {"(64, 64, 3)", "unreadable"}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    pixels = decode(encode_oriented(orientation, kind))
    assert pixels.shape == RGB.shape
    assert np.abs(pixels.astype(int) - RGB).mean() <= (3 if kind == "JPEG" else 0)


def test_orientation_6_by_hand() -> None:
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)  # row 0 is the right side, column 0 the top
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encode(stored, "PNG", exif=exif))[..., 0].tolist() == [[4, 1], [5, 2], [6, 3]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_strips_do_not_change_the_pixels(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {
        "RGB": encode(RGB, "PNG"),
        "RGBA": encode(np.concatenate([RGB, ALPHA], 2), "PNG"),
        "I;16": make_png16(WIDE),
    }[mode]
    whole = decode(data)
    monkeypatch.setattr(decode_module, "STRIP_PIXELS", 100)
    assert (decode(data) == whole).all()


def test_the_result_does_not_depend_on_warning_filters() -> None:
    data = GOOD["corrupt exif.jpg"][0]()
    results = []
    actions: tuple[Literal["error", "ignore", "always"], ...] = ("error", "ignore", "always")
    for action in actions:
        with warnings.catch_warnings(record=True) as caught_warnings:
            warnings.simplefilter(action)
            results.append(decode(data))
            with pytest.raises(DecodeError):
                decode(BAD["13000 x 13000.png"][0]())
        assert not caught_warnings
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def test_threads_restore_the_warning_filters() -> None:
    before = list(warnings.filters)
    data = [GOOD["corrupt exif.jpg"][0](), BAD["13000 x 13000.png"][0]()]

    def decode_files() -> None:
        for content in data * 20:
            with filter_pillow_warnings():
                try:
                    decode(content)
                except DecodeError:
                    continue

    threads = [threading.Thread(target=decode_files) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


MEASURE = """
import resource, sys
from pathlib import Path
from veduta.data.decode import decode
data = Path(sys.argv[1]).read_bytes()
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""


def test_the_largest_image_needs_limited_memory(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5)
    path = tmp_path / "large.png"
    path.write_bytes(make_png((side, side), 8, 2, bytes((3 * side + 1) * side)))
    command = [sys.executable, "-c", MEASURE, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 600_000


def test_too_many_open_files_are_no_decode_error(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    path.write_bytes(b"abc")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(path, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(VedutaError, match=r"Too many open files.*ulimit -n") as raised:
            read_file(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not isinstance(raised.value, DecodeError)
    assert read_file(path) == b"abc"


def test_read_file_returns_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert read_file(path) == b"abc"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_file(link) == b"abc"


@pytest.mark.parametrize("kind", STRANGE)
def test_special_files_have_the_expected_problem(kind: str, tmp_path: Path) -> None:
    make, problem = STRANGE[kind]
    if "mode 000" in kind and os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "x.jpg"
    make(path)
    with pytest.raises(DecodeError) as caught:
        read_file(path)
    assert caught.value.problem == problem


@pytest.mark.parametrize("kind", ["a folder", "nothing"])
def test_paths_without_a_file_have_the_expected_problem(kind: str, tmp_path: Path) -> None:
    path = tmp_path if kind == "a folder" else tmp_path / "absent.jpg"
    with pytest.raises(DecodeError) as caught:
        read_file(path)
    assert caught.value.problem == ("not a regular file" if kind == "a folder" else "missing")


def test_data_after_the_image_do_not_count_as_scans() -> None:
    """A phone may append a short video to a photo: 12 MB that contain the bytes of a marker."""
    photo = io.BytesIO()
    Image.new("RGB", (1000, 700), "teal").save(photo, "JPEG")
    video = np.random.default_rng(0).integers(0, 256, 2**20, np.uint8).tobytes()
    assert video.count(b"\xff\xda") > 5
    data = photo.getvalue() + 12 * video
    assert decode_module.START_OF_SCAN.findall(data) == decode_module.START_OF_SCAN.findall(
        photo.getvalue()
    )
    np.testing.assert_array_equal(decode(data), decode(photo.getvalue()))
