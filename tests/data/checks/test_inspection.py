"""The gate as a whole: everything planted in a folder is found, each file decoded once."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veduta.data import pixels as making
from veduta.data.checks.inspection import Inspection, inspect_folder
from veduta.data.decode import Picture
from veduta.data.folder import read_folder

RNG = np.random.default_rng(3)


def scene(path: Path, **how: object) -> Image.Image:
    """An image unlike all others, at `path`."""
    coarse = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((64, 48), Image.Resampling.NEAREST)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits of two classes, with one of each fault in them."""
    root = tmp_path_factory.mktemp("gate") / "data"
    for split, count in (("train", 12), ("test", 4)):
        for label in "ab":
            for number in range(count):
                scene(root / split / label / f"{number:02}.png")
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
    scene(root / "predict" / "p.png")
    return root


def looked_at(folder: Path, cache: Path, threads: int = 2) -> Inspection:
    return inspect_folder(read_folder(folder), cache=cache, threads=threads)


def test_everything_planted_is_found_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    found = looked_at(folder, tmp_path)
    told = [(f.problem, *(sample.name for sample in f.samples)) for f in found.findings]
    assert told == [
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
    assert len(found.weighty) == len(found.findings) - 1
    assert found.counts["train"] == {"a": 13, "b": 14}
    assert found.counts["predict"] == {"": 1}


def test_json_says_the_same(folder: Path, tmp_path: Path) -> None:
    found = looked_at(folder, tmp_path)
    told = found.as_dict()
    assert (told["files"], told["readable"], told["rejected"]) == (40, 38, 2)
    assert told["problems"] == found.problems
    (near, *_) = [one for one in told["findings"] if one["problem"] == "near leak"]
    assert near["images"] == [
        {"path": "test/b/near.jpg", "label": "b", "split": "test"},
        {"path": "train/b/01.png", "label": "b", "split": "train"},
    ]
    assert 0 <= near["distance"] <= 8
    assert "distance" not in told["findings"][0]


def test_each_file_is_decoded_once_and_known_ones_never(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tree: Callable[[Path], dict[str, bytes]],
) -> None:
    before, decoded = tree(folder), []
    original = making.picture_of

    def counted(data: bytes) -> Picture:
        decoded.append(hashlib.sha256(data).hexdigest())
        return original(data)

    monkeypatch.setattr(making, "picture_of", counted)
    seen: list[tuple[int, int]] = []
    first = inspect_folder(
        read_folder(folder),
        cache=tmp_path,
        threads=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(decoded) == len(set(decoded)) == len(set(before.values()) - {b""})
    assert seen == sorted(seen)
    assert seen[-1] == (40, 40)
    decoded.clear()
    assert looked_at(folder, tmp_path, threads=1) == first
    assert len(decoded) == 1, "the torn one, which has nothing that could be known"
    assert tree(folder) == before


def test_identical_intel_scenes_are_found_all_and_no_others(intel: Path, tmp_path: Path) -> None:
    """Against a plain loop over decoded pixels; near pairs have a distance."""
    folder = read_folder(intel)
    found = inspect_folder(folder, cache=tmp_path, threads=2)
    groups: dict[tuple[tuple[int, int], bytes], set[str]] = defaultdict(set)
    for sample in folder.samples:
        with Image.open(sample.path) as image:
            pixels = image.convert("RGB")
            groups[pixels.size, hashlib.md5(pixels.tobytes()).digest()].add(sample.name)  # noqa: S324
    expected = {frozenset(names) for names in groups.values() if len(names) > 1}
    exact = [f for f in found.findings if f.problem in {"duplicate", "leak", "conflict"}]
    assert {frozenset(s.name for s in f.samples) for f in exact} == expected
    leaks = {frozenset(s.name for s in f.samples) for f in exact if f.problem == "leak"}
    crossing = {
        names for names in expected if len({name.split("/")[0] for name in names} - {"predict"}) > 1
    }
    assert leaks == crossing
    assert crossing, "the data are known to leak"
    near = [f for f in found.findings if f.problem.startswith("near")]
    assert near
    assert all(f.distance is not None and 0 <= f.distance <= 8 for f in near)
