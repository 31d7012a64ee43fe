"""The gate before a training: what may train, what is dropped, when it is too little to begin."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import paint
from veduta.data.checks.inspection import inspect_folder
from veduta.data.folder import read_folder
from veduta.errors import InputError
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.gate import Gate, gate_of
from veduta.experiment.plan import make_plan
from veduta.runs.directory import Place
from veduta.tracking.console import Console


def gate(data: Path, **settings: object) -> Gate:
    place = Place(data.parent / "run")
    values = {"image_size": 32, "engine": "torch", **settings}
    plan = make_plan(data, values, grid={}, place=place, command="train")
    return gate_of(plan, Materials("torch", 0, data.parent / "cache", Console(quiet=True)))


def dropped(found: Gate) -> list[tuple[str, str, str]]:
    assert {line.problem for line in found.dropped} <= {"leak"}
    return [(line.name, line.detail, line.action) for line in found.dropped]


def in_several(found: Gate) -> set[frozenset[str]]:
    """Parts that share an image, by a comparison of pixels as Pillow decodes them."""
    where: dict[bytes, set[str]] = defaultdict(set)
    for part, images in found.parts.items():
        for image in images:
            with Image.open(image.sample.path) as opened:
                where[opened.convert("RGB").tobytes()].add(part)
    return {frozenset(parts) for parts in where.values() if len(parts) > 1}


def written_anew(source: Path, target: Path) -> None:
    """The same pixels in a file of other bytes."""
    with Image.open(source) as image:
        image.save(target)
    assert source.read_bytes() != target.read_bytes()


def test_an_image_of_the_test_does_not_train(split_colours: Path) -> None:
    train, test = split_colours / "train", split_colours / "test"
    clean = gate(split_colours)
    shutil.copy(test / "red" / "000.png", train / "red" / "copied.png")
    written_anew(test / "red" / "001.png", train / "red" / "written.bmp")
    found = gate(split_colours)
    assert dropped(found) == [
        (
            "train/red/copied.png",
            "the same image as test/red/000.png, of test",
            "train copy dropped",
        ),
        (
            "train/red/written.bmp",
            "the same image as test/red/001.png, of test",
            "train copy dropped",
        ),
    ]
    assert in_several(found) == set()
    assert found.parts["test"] == clean.parts["test"]
    assert sum(map(len, found.parts.values())) == sum(map(len, clean.parts.values()))
    assert [finding.problem for finding in found.findings] == ["leak", "leak"]
    assert found.conflicting == frozenset()
    kept = gate(split_colours, keep_leaks=True)
    assert kept.dropped == ()
    assert in_several(kept)
    assert {finding.action for finding in kept.findings} == {"kept"}


def test_a_class_is_as_small_as_what_is_left_of_it(split_colours: Path) -> None:
    train, test = split_colours / "train" / "red", split_colours / "test" / "red"
    copied = sorted(train.iterdir())[1:]
    for path in copied:
        shutil.copy(path, test / f"copy-{path.name}")
    found = gate(split_colours)
    assert [i.sample.label for i in found.parts["train"]].count("red") + [
        i.sample.label for i in found.parts["validation"]
    ].count("red") == 1
    assert "tiny class" in {finding.problem for finding in found.findings}
    kept = gate(split_colours, keep_leaks=True)
    assert "'red' has" not in "".join(f.detail for f in kept.findings if f.problem == "tiny class")


def test_an_image_that_chooses_does_not_train(split_colours: Path) -> None:
    shutil.copytree(split_colours / "test", split_colours / "val")
    for path in (split_colours / "val").rglob("*.png"):
        with Image.open(path) as image:
            pixels = 255 - np.asarray(image)
        Image.fromarray(pixels).save(path)
    chooses = split_colours / "val" / "blue" / "000.png"
    shutil.copy(chooses, split_colours / "train" / "blue" / "chooses.png")
    shutil.copy(split_colours / "test" / "blue" / "001.png", chooses.with_name("judges.png"))
    found = gate(split_colours)
    assert [(line.name, line.action) for line in found.dropped] == [
        ("train/blue/chooses.png", "train copy dropped"),
        ("val/blue/judges.png", "validation copy dropped"),
    ]
    assert in_several(found) == set()


def test_copies_stay_together_where_the_data_bring_no_splits(tmp_path: Path) -> None:
    paint(tmp_path / "data", 20)
    for path in sorted((tmp_path / "data").rglob("*.png")):
        written_anew(path, path.with_suffix(".bmp"))
    for folds in (None, 3):
        found = gate(tmp_path / "data", folds=folds)
        assert (found.dropped, in_several(found)) == ((), set())
        assert sum(map(len, found.parts.values())) == 120
    assert {finding.problem for finding in found.findings} == {"duplicate"}


def test_labels_that_contradict_one_another_are_known_by_name(split_colours: Path) -> None:
    test = split_colours / "test"
    written_anew(test / "red" / "000.png", test / "blue" / "again.bmp")
    shutil.copy(test / "green" / "000.png", split_colours / "train" / "red" / "wrong.png")
    found = gate(split_colours)
    assert found.conflicting == {
        "test/red/000.png", "test/blue/again.bmp", "test/green/000.png", "train/red/wrong.png"
    }  # fmt: skip
    assert [line.name for line in found.dropped] == ["train/red/wrong.png"]
    assert len(found.parts["test"]) == 25


def test_more_than_half_unreadable_stops_with_counts(tmp_path: Path) -> None:
    paint(tmp_path / "data", 10)
    files = sorted((tmp_path / "data").rglob("*.png"))
    for number, path in enumerate(files[::2]):
        path.write_bytes(b"" if number % 5 else b"no image")
    assert len(gate(tmp_path / "data").unreadable) == 15
    files[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"16 of 30 cannot be read .*13 empty, 3 not an image"):
        gate(tmp_path / "data")


def test_a_class_that_is_emptied_is_named(split_colours: Path) -> None:
    shutil.copytree(split_colours / "train" / "red", split_colours / "test" / "red" / "again")
    with pytest.raises(InputError, match=r"not among the images that judge; .* none of 'red'"):
        gate(split_colours)
    assert len(gate(split_colours, keep_leaks=True).parts["test"]) == 3 * 8 + 20


def test_what_weighs_is_what_weighs_where_nothing_is_divided(colours: Path, tmp_path: Path) -> None:
    """Look-alikes that only our division puts in several splits are notes; so is what is asked."""
    data = tmp_path / "data"
    shutil.copytree(colours, data / "train")
    (data / "predict").mkdir()
    shutil.copy(next((data / "train").rglob("*.png")), data / "predict" / "asked.png")
    pattern = np.kron(np.random.default_rng(0).integers(40, 200, (6, 6)), np.ones((8, 8)))
    for number in range(30):
        frame = pattern[..., None] + [number, 0, 0]
        Image.fromarray(frame.astype(np.uint8)).save(data / "train" / "red" / f"film{number}.png")
    found = gate(data)
    folder = read_folder(data)
    seen = inspect_folder(folder, cache=tmp_path / "seen", threads=1)
    assert not [finding for finding in (*found.findings, *seen.findings) if finding.weighs]
    details = [f.detail for f in found.findings if f.problem == "near duplicate"]
    assert any("were divided in" in detail for detail in details)
    assert seen.problems["predict copy"] == 1
