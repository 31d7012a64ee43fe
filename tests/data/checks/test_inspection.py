"""The data checks as a whole: all problems of a folder are found, each file is decoded once."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veduta.data import pixels as pixels_module
from veduta.data.checks.inspection import Inspection, inspect_folder
from veduta.data.decode import DecodedFile, decode_with_properties
from veduta.data.folder import read_folder

RNG = np.random.default_rng(3)


def write_image(path: Path) -> None:
    """Write an image that is similar to no other."""
    coarse = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((64, 48), Image.Resampling.NEAREST)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two splits of two classes that contain one of each problem."""
    root = tmp_path_factory.mktemp("checks") / "data"
    for split, count in (("train", 12), ("test", 4)):
        for label in "ab":
            for number in range(count):
                write_image(root / split / label / f"{number:02}.png")
    first = Image.open(root / "train" / "a" / "00.png")
    first.save(root / "test" / "a" / "leak.bmp")
    first.save(root / "train" / "b" / "conflict.png", compress_level=0)
    other = Image.open(root / "train" / "b" / "01.png")
    other.resize((96, 72), Image.Resampling.BICUBIC).save(root / "test" / "b" / "near.jpg")
    other.save(root / "train" / "b" / "wrong.jpg", "PNG")
    Image.new("RGB", (64, 48), (90, 90, 90)).save(root / "train" / "a" / "blank.png")
    (root / "train" / "a" / "empty.png").write_bytes(b"")
    data = (root / "train" / "a" / "02.png").read_bytes()
    (root / "train" / "a" / "torn.png").write_bytes(data[: len(data) // 2])
    write_image(root / "predict" / "p.png")
    return root


def inspect(folder: Path, cache: Path, threads: int = 2) -> Inspection:
    return inspect_folder(read_folder(folder), cache=cache, threads=threads)


def test_exactly_the_problems_of_the_folder_are_found(folder: Path, tmp_path: Path) -> None:
    inspection = inspect(folder, tmp_path)
    findings = inspection.findings
    assert [(f.problem, *(sample.name for sample in f.samples)) for f in findings] == [
        ("empty", "train/a/empty.png"),
        ("unreadable", "train/a/torn.png"),
        ("leak", "test/a/leak.bmp", "train/a/00.png", "train/b/conflict.png"),
        ("near leak", "test/b/near.jpg", "train/b/01.png"),
        ("near leak", "test/b/near.jpg", "train/b/wrong.jpg"),
        ("conflict", "test/a/leak.bmp", "train/a/00.png", "train/b/conflict.png"),
        ("duplicate", "train/b/01.png", "train/b/wrong.jpg"),
        ("blank", "train/a/blank.png"),
        ("wrong extension", "train/b/wrong.jpg"),
    ]
    assert [finding.severity for finding in findings] == ["error"] * 8 + ["warning"]
    assert inspection.errors == findings[:-1]
    (near, *_) = [finding for finding in findings if finding.problem == "near leak"]
    assert [(sample.label, sample.split) for sample in near.samples] == [
        ("b", "test"),
        ("b", "train"),
    ]
    assert near.distance is not None
    assert 0 <= near.distance <= 8
    assert findings[0].distance is None
    assert inspection.counts["train"] == {"a": 13, "b": 14}
    assert inspection.counts["predict"] == {"": 1}


def test_each_file_is_decoded_once_and_files_in_the_cache_never(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tree: Callable[[Path], dict[str, bytes]],
) -> None:
    contents, decoded = tree(folder), []

    def record_and_decode(data: bytes) -> DecodedFile:
        decoded.append(hashlib.sha256(data).hexdigest())
        return decode_with_properties(data)

    monkeypatch.setattr(pixels_module, "decode_with_properties", record_and_decode)
    progress: list[tuple[int, int]] = []
    first = inspect_folder(
        read_folder(folder),
        cache=tmp_path,
        threads=2,
        progress=lambda done, total: progress.append((done, total)),
    )
    assert len(decoded) == len(set(decoded)) == len(set(contents.values()) - {b""})
    assert progress == sorted(progress)
    assert progress[-1] == (40, 40)
    decoded.clear()
    assert inspect(folder, tmp_path, threads=1) == first
    assert len(decoded) == 1, "the truncated file, which has no row in the cache"
    assert tree(folder) == contents


def test_exactly_the_identical_intel_scenes_are_found(intel: Path, tmp_path: Path) -> None:
    """The oracle is a plain loop over decoded pixels."""
    folder = read_folder(intel)
    inspection = inspect_folder(folder, cache=tmp_path, threads=2)
    names_by_pixels: dict[tuple[tuple[int, int], bytes], set[str]] = defaultdict(set)
    for sample in folder.samples:
        with Image.open(sample.path) as image:
            pixels = image.convert("RGB")
            digest = hashlib.md5(pixels.tobytes()).digest()  # noqa: S324
            names_by_pixels[pixels.size, digest].add(sample.name)
    groups = {frozenset(names) for names in names_by_pixels.values() if len(names) > 1}
    problems = {"duplicate", "leak", "conflict"}
    exact = [finding for finding in inspection.findings if finding.problem in problems]
    assert {frozenset(s.name for s in f.samples) for f in exact} == groups
    leaks = {frozenset(s.name for s in f.samples) for f in exact if f.problem == "leak"}
    several_splits = {
        names for names in groups if len({name.split("/")[0] for name in names} - {"predict"}) > 1
    }
    assert leaks == several_splits
    assert several_splits, "the data are known to leak"
    near = [finding for finding in inspection.findings if finding.problem.startswith("near")]
    assert near
    assert all(f.distance is not None and 0 <= f.distance <= 8 for f in near)
