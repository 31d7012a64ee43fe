"""Pixels of files: correct, in order, decoded once; unreadable files are rejected."""

import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from veduta.data import files as files_module
from veduta.data import pixels as pixels_module
from veduta.data.decode import DecodedFile, decode_with_properties
from veduta.data.folder import read_folder
from veduta.data.pixels import Pixels, Resize, load_pixels, open_pixel_store
from veduta.data.sample import Sample
from veduta.data.traits import open_trait_store
from veduta.errors import VedutaError


def list_samples(folder: Path) -> list[Sample]:
    return [Sample(path, path.name, "a", None) for path in sorted(folder.iterdir())]


def write_images(folder: Path, count: int, size: tuple[int, int] = (12, 10)) -> list[Sample]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        values = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Pillow.fromarray(values).save(folder / f"{number:03}.png")
    return list_samples(folder)


def load(samples: Sequence[Sample], cache: Path, size: int = 8, threads: int = 2) -> Pixels:
    return load_pixels(samples, Resize(size), cache=cache, threads=threads)


def decode_with_pillow(sample: Sample, size: int) -> np.ndarray:
    with Pillow.open(sample.path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Pillow.Resampling.BICUBIC))


def test_pixels_are_those_of_pillow_in_the_order_of_the_samples(tmp_path: Path) -> None:
    samples = write_images(tmp_path / "images", 150)[::-1]
    pixels = load(samples, tmp_path / "cache")
    assert [image.sample for image in pixels.images] == samples
    assert pixels.images[3].digest == hashlib.sha256(samples[3].path.read_bytes()).hexdigest()
    assert np.array_equal(pixels.rows.take(), np.stack([decode_with_pillow(s, 8) for s in samples]))
    assert (pixels.from_cache, pixels.decoded, pixels.rejected) == (0, 150, ())


def test_a_second_run_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = write_images(tmp_path / "images", 10)
    first = load(samples, tmp_path / "cache")
    monkeypatch.setattr(pixels_module, "decode_with_properties", None)
    second = load(samples[::-1], tmp_path / "cache")
    assert (second.from_cache, second.decoded) == (10, 0)
    assert np.array_equal(second.rows.take(), first.rows.take()[::-1])


def test_traits_are_computed_and_cached_with_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, decoded = write_images(tmp_path / "images", 6), []

    def record_and_decode(data: bytes) -> DecodedFile:
        decoded.append(1)
        return decode_with_properties(data)

    monkeypatch.setattr(pixels_module, "decode_with_properties", record_and_decode)
    first = load(samples, tmp_path / "cache")
    assert len(decoded) == 6
    assert {image.traits.width for image in first.images if image.traits} == {10}
    second = load(samples, tmp_path / "cache")
    assert (len(decoded), second.images) == (6, first.images)
    shutil.rmtree(open_trait_store(tmp_path / "cache").folder)  # like a cache without traits
    third = load(samples, tmp_path / "cache")
    assert (len(decoded), third.images, third.from_cache) == (12, first.images, 6)
    assert load(samples, tmp_path / "cache", size=9).images == first.images
    assert len(decoded) == 18


def test_only_new_content_is_decoded(tmp_path: Path) -> None:
    samples = write_images(tmp_path / "images", 10)
    load(samples[:6], tmp_path / "cache")
    samples[2].path.write_bytes(samples[9].path.read_bytes())
    samples[1].path.rename(samples[1].path.with_name("other.png"))
    pixels = load(list_samples(tmp_path / "images"), tmp_path / "cache")
    assert (pixels.from_cache, pixels.decoded) == (5, 5)
    expected = [decode_with_pillow(image.sample, 8) for image in pixels.images]
    assert np.array_equal(pixels.rows.take(), np.stack(expected))


def test_size_filter_fit_and_decoder_are_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = write_images(tmp_path / "images", 2)
    kinds = [Resize(8), Resize(9), Resize(8, "bilinear"), Resize(8, fit="crop")]
    for resize in kinds:
        assert load_pixels(samples, resize, cache=tmp_path / "c", threads=1).decoded == 2
    for resize in kinds:
        assert load_pixels(samples, resize, cache=tmp_path / "c", threads=1).from_cache == 2
    folder = open_pixel_store(kinds[0], tmp_path / "c").folder
    monkeypatch.setattr(pixels_module, "DECODER", "another")
    assert open_pixel_store(kinds[0], tmp_path / "c").folder != folder


def test_unreadable_files_are_rejected_and_not_changed(tmp_path: Path) -> None:
    samples = write_images(tmp_path / "images", 8)
    samples[1].path.write_bytes(b"")
    samples[3].path.write_bytes(samples[3].path.read_bytes()[:100])
    samples[4].path.write_bytes(b"<html>")
    samples[5].path.write_bytes(b"<html>")
    samples[6].path.unlink()
    os.mkfifo(samples[6].path)
    samples[7].path.unlink()
    before = {p.name: p.read_bytes() for p in tmp_path.rglob("*.png") if p.is_file()}
    for _ in range(2):
        pixels = load(samples, tmp_path / "cache")
        assert [image.sample.name for image in pixels.images] == ["000.png", "002.png"]
        assert np.array_equal(pixels.rows.take()[1], decode_with_pillow(samples[2], 8))
        assert [(rejection.name, rejection.problem) for rejection in pixels.rejected] == [
            ("001.png", "empty"),
            ("003.png", "unreadable"),
            ("004.png", "not an image"),
            ("005.png", "not an image"),
            ("006.png", "not a regular file"),
            ("007.png", "missing"),
        ]
        assert {rejection.action for rejection in pixels.rejected} == {"left out"}
    assert before == {p.name: p.read_bytes() for p in tmp_path.rglob("*.png") if p.is_file()}


def test_no_readable_files_and_no_files(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    pixels = load([Sample(tmp_path / "x.png", "x.png", "a", None)], tmp_path / "cache")
    assert (pixels.images, len(pixels.rejected)) == ((), 1)
    assert pixels.rows.take().shape == (0, 8, 8, 3)
    assert load([], tmp_path / "cache").images == ()


@pytest.mark.parametrize("held", [0, 1000, 10**9])
def test_a_file_that_changes_while_it_is_read_is_not_mixed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    samples = write_images(tmp_path / "images", 4)
    samples[2].path.write_bytes(samples[1].path.read_bytes())  # 1 has a copy, 0 has none
    names: list[str] = []

    def read(path: Path) -> bytes:
        names.append(path.name)
        data = path.read_bytes()
        return data + b"!" * (names.count(path.name) == 2 and path.name in {"000.png", "001.png"})

    monkeypatch.setattr(files_module, "read_file", read)
    monkeypatch.setattr(files_module, "MAX_HELD_BYTES", held)
    pixels = load(samples, tmp_path / "cache", threads=1)
    if held:  # the content of the first reading is used
        assert [image.sample.name for image in pixels.images][:1] == ["000.png"]
    else:
        assert [image.sample.name for image in pixels.images] == ["001.png", "002.png", "003.png"]
        assert [(rejection.name, rejection.problem) for rejection in pixels.rejected] == [
            ("000.png", "changed while reading")
        ]
    assert len(names) == (4 if held == 10**9 else len(names))
    expected = [decode_with_pillow(image.sample, 8) for image in pixels.images]
    assert np.array_equal(pixels.rows.take(), np.stack(expected))


def test_the_result_does_not_depend_on_threads(tmp_path: Path) -> None:
    samples = write_images(tmp_path / "images", 200)
    samples[77].path.write_bytes(b"broken")
    results = [load(samples, tmp_path / f"cache{n}", threads=n) for n in (1, 2, 7)]
    for other in results[1:]:
        assert (other.images, other.rejected) == (results[0].images, results[0].rejected)
        assert np.array_equal(other.rows.take(), results[0].rows.take())


def test_progress_counts_files_up_to_all(tmp_path: Path) -> None:
    samples = write_images(tmp_path / "images", 150)
    samples[140].path.write_bytes(samples[0].path.read_bytes())
    samples[149].path.write_bytes(b"")
    for _ in range(2):
        progress: list[tuple[int, int]] = []
        load_pixels(
            samples,
            Resize(8),
            cache=tmp_path / "cache",
            progress=lambda done, total: progress.append((done, total)),  # noqa: B023
            threads=2,
        )
        assert progress == sorted(progress)
        assert len(progress) > 2
        assert progress[-1] == (150, 150)


def test_an_interruption_stops_reading_and_keeps_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = write_images(tmp_path / "images", 400)
    calls: list[int] = []

    def count_and_decode(data: bytes) -> DecodedFile:
        calls.append(1)
        return decode_with_properties(data)

    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr(pixels_module, "decode_with_properties", count_and_decode)
    with pytest.raises(KeyboardInterrupt):
        load_pixels(samples, Resize(64), cache=tmp_path / "c", progress=interrupt, threads=1)
    assert 0 < len(calls) < 400
    assert load(samples, tmp_path / "c", size=64).from_cache == 0


def test_intel_against_a_plain_loop(intel: Path, tmp_path: Path) -> None:
    samples = [s for s in read_folder(intel).samples if s.split == "test"][::9]
    pixels = load(samples, tmp_path, size=96)
    assert (len(pixels.images), pixels.rejected) == (100, ())
    assert np.array_equal(
        pixels.rows.take(), np.stack([decode_with_pillow(s, 96) for s in samples])
    )


def test_too_many_open_files_are_an_error_and_reject_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(200):
        Pillow.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number:03}.png")
    real = os.open

    def refuse_to_open(path: str | Path, flags: int, *rest: int, **more: int) -> int:
        if str(path).endswith("150.png"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        return real(path, flags, *rest, **more)

    samples = list_samples(folder)
    monkeypatch.setattr(os, "open", refuse_to_open)
    with pytest.raises(VedutaError, match="Too many open files"):
        load_pixels(samples, Resize(8), cache=tmp_path / "cache", threads=3)
    monkeypatch.setattr(os, "open", real)
    assert load_pixels(samples, Resize(8), cache=tmp_path / "cache", threads=3).rejected == ()
