"""Bytes to pixels: each kind of image has the pixels it should, all else is a DecodeError."""

import io
import os
import resource
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.images import (
    ALPHA,
    BAD,
    EITHER,
    GOOD,
    RGB,
    STRANGE,
    WIDE,
    png,
    png16,
    saved,
    turned,
)
from veduta.data import decode as limits
from veduta.data import decode as module
from veduta.data.decode import MOST_PIXELS, calm, decode, read_file
from veduta.errors import DecodeError, VedutaError


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_has_the_pixels_it_should(kind: str) -> None:
    make, truth, allowed = GOOD[kind]
    data = make()
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.shape == truth.shape
    error = pixels.astype(float) - truth
    assert np.abs(error).mean() <= allowed
    if "16 bits" in kind:
        assert abs(error.mean()) < 1


@pytest.mark.parametrize("kind", BAD)
def test_each_bad_file_has_its_verdict(kind: str) -> None:
    make, problem = BAD[kind]
    data = make()
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.problem == problem
    assert caught.value.detail
    assert "\n" not in str(caught.value)


def test_an_avif_file_gets_a_hint() -> None:
    with pytest.raises(DecodeError, match="this is an AVIF image; save it as PNG or JPEG"):
        decode(BAD["d10 avif.jpg"][0]())


@pytest.mark.parametrize("kind", EITHER)
def test_what_may_be_read_or_not_does_no_harm(kind: str) -> None:
    try:
        found = str(decode(EITHER[kind]()).shape)
    except DecodeError as error:
        found = error.problem
    assert found in {"(64, 64, 3)", "unreadable"}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_as_its_camera_was_held(orientation: int, kind: str) -> None:
    pixels = decode(turned(orientation, kind))
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


def test_the_verdict_does_not_depend_on_warning_filters() -> None:
    data = GOOD["d12 corrupt exif.jpg"][0]()
    verdicts = []
    for action in ("error", "ignore", "always"):
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter(action)  # type: ignore[arg-type]
            verdicts.append(decode(data))
            with pytest.raises(DecodeError):
                decode(BAD["d14 13000 x 13000.png"][0]())
        assert not shown
    assert (verdicts[0] == verdicts[1]).all()
    assert (verdicts[0] == verdicts[2]).all()


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    data = [GOOD["d12 corrupt exif.jpg"][0](), BAD["d14 13000 x 13000.png"][0]()]

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
import resource, sys
from pathlib import Path
from veduta.data.decode import decode
data = Path(sys.argv[1]).read_bytes()
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""


def test_the_largest_image_stays_within_its_memory(tmp_path: Path) -> None:
    side = int(MOST_PIXELS**0.5)
    path = tmp_path / "large.png"
    path.write_bytes(png((side, side), 8, 2, bytes((3 * side + 1) * side)))
    command = [sys.executable, "-c", MEASURE, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 600_000


def test_too_many_open_files_are_no_fault_of_an_image(tmp_path: Path) -> None:
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


def test_read_file_gives_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert read_file(path) == b"abc"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_file(link) == b"abc"


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_files_have_their_verdict(kind: str, tmp_path: Path) -> None:
    make, problem = STRANGE[kind]
    if "mode 000" in kind and os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "x.jpg"
    make(path)
    with pytest.raises(DecodeError) as caught:
        read_file(path)
    assert caught.value.problem == problem


@pytest.mark.parametrize("kind", ["a folder", "nothing"])
def test_what_is_no_file_has_its_verdict(kind: str, tmp_path: Path) -> None:
    path = tmp_path if kind == "a folder" else tmp_path / "absent.jpg"
    with pytest.raises(DecodeError) as caught:
        read_file(path)
    assert caught.value.problem == ("not a regular file" if kind == "a folder" else "missing")


def test_what_stands_behind_a_photo_does_not_count_as_scans() -> None:
    """As a short film does behind a photo of a telephone: 12 MB, a marker's bytes by chance."""
    shown = io.BytesIO()
    Image.new("RGB", (1000, 700), "teal").save(shown, "JPEG")
    behind = np.random.default_rng(0).integers(0, 256, 2**20, np.uint8).tobytes()
    assert behind.count(b"\xff\xda") > 5
    data = shown.getvalue() + 12 * behind
    assert limits.START_OF_SCAN.findall(data) == limits.START_OF_SCAN.findall(shown.getvalue())
    np.testing.assert_array_equal(decode(data), decode(shown.getvalue()))
