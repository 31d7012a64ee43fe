"""The images of a run: which are used, which are dropped, and when there are too few."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.datasets import write_color_folders
from tests.support.runs import QUIET
from veduta.data.checks.inspection import inspect_folder
from veduta.data.folder import read_folder
from veduta.errors import InputError
from veduta.experiment.checked_data import CheckedData, check_data
from veduta.experiment.feature_pipeline import PixelLoader
from veduta.experiment.plan import make_plan
from veduta.runs.directory import OutputPath


def check(data: Path, **settings: object) -> CheckedData:
    """Check the images of a folder as a training does."""
    output = OutputPath(data.parent / "run")
    values = {"image_size": 32, "engine": "torch", **settings}
    plan = make_plan(data, values, grid={}, output=output, command="train")
    return check_data(plan, PixelLoader(data.parent / "cache", QUIET))


def find_shared_splits(data: CheckedData) -> set[frozenset[str]]:
    """Return splits that share an image, by a comparison of pixels as Pillow decodes them."""
    splits_by_pixels: dict[bytes, set[str]] = defaultdict(set)
    for split, images in data.splits.items():
        for image in images:
            with Image.open(image.sample.path) as opened:
                splits_by_pixels[opened.convert("RGB").tobytes()].add(split)
    return {frozenset(splits) for splits in splits_by_pixels.values() if len(splits) > 1}


def save_copy(source: Path, target: Path) -> None:
    """Save the same pixels in a file with other bytes."""
    with Image.open(source) as image:
        image.save(target)
    assert source.read_bytes() != target.read_bytes()


def test_copies_of_test_images_are_dropped_from_training(split_folder: Path) -> None:
    train, test = split_folder / "train", split_folder / "test"
    clean = check(split_folder)
    shutil.copy(test / "red" / "000.png", train / "red" / "copied.png")
    save_copy(test / "red" / "001.png", train / "red" / "written.bmp")
    data = check(split_folder)
    assert [(row.name, row.problem, row.detail, row.action) for row in data.dropped] == [
        (
            "train/red/copied.png",
            "leak",
            "the same image as test/red/000.png, of test",
            "train copy dropped",
        ),
        (
            "train/red/written.bmp",
            "leak",
            "the same image as test/red/001.png, of test",
            "train copy dropped",
        ),
    ]
    assert find_shared_splits(data) == set()
    assert data.splits["test"] == clean.splits["test"]
    assert len(data.used_images) == len(clean.used_images)
    assert [finding.problem for finding in data.findings] == ["leak", "leak"]
    assert data.conflicting == frozenset()
    kept = check(split_folder, keep_leaks=True)
    assert kept.dropped == ()
    assert find_shared_splits(kept)
    assert {finding.action for finding in kept.findings} == {"kept"}


def test_dropped_copies_do_not_count_for_the_size_of_a_class(split_folder: Path) -> None:
    train, test = split_folder / "train" / "red", split_folder / "test" / "red"
    for path in sorted(train.iterdir())[1:]:
        shutil.copy(path, test / f"copy-{path.name}")
    data = check(split_folder)
    images = [*data.splits["train"], *data.splits["validation"]]
    assert [image.sample.label for image in images].count("red") == 1
    assert "tiny class" in {finding.problem for finding in data.findings}
    kept = check(split_folder, keep_leaks=True)
    details = [f.detail for f in kept.findings if f.problem == "tiny class"]
    assert "'red' has" not in "".join(details)


def test_copies_of_validation_images_are_dropped_from_training(split_folder: Path) -> None:
    shutil.copytree(split_folder / "test", split_folder / "val")
    for path in (split_folder / "val").rglob("*.png"):
        with Image.open(path) as image:
            pixels = 255 - np.asarray(image)
        Image.fromarray(pixels).save(path)
    validation = split_folder / "val" / "blue" / "000.png"
    shutil.copy(validation, split_folder / "train" / "blue" / "validation.png")
    shutil.copy(split_folder / "test" / "blue" / "001.png", validation.with_name("test.png"))
    data = check(split_folder)
    assert [(row.name, row.action) for row in data.dropped] == [
        ("train/blue/validation.png", "train copy dropped"),
        ("val/blue/test.png", "validation copy dropped"),
    ]
    assert find_shared_splits(data) == set()


def test_copies_are_in_one_split_if_the_data_set_has_none(tmp_path: Path) -> None:
    write_color_folders(tmp_path / "data", 20)
    for path in sorted((tmp_path / "data").rglob("*.png")):
        save_copy(path, path.with_suffix(".bmp"))
    for folds in (None, 3):
        data = check(tmp_path / "data", folds=folds)
        assert (data.dropped, find_shared_splits(data)) == ((), set())
        assert len(data.used_images) == 120
        assert {finding.problem for finding in data.findings} == {"duplicate"}


def test_conflicting_labels_are_known_by_name(split_folder: Path) -> None:
    test = split_folder / "test"
    save_copy(test / "red" / "000.png", test / "blue" / "again.bmp")
    shutil.copy(test / "green" / "000.png", split_folder / "train" / "red" / "wrong.png")
    data = check(split_folder)
    assert data.conflicting == {
        "test/red/000.png", "test/blue/again.bmp", "test/green/000.png", "train/red/wrong.png"
    }  # fmt: skip
    assert [row.name for row in data.dropped] == ["train/red/wrong.png"]
    assert len(data.splits["test"]) == 25


def test_more_than_half_unreadable_files_are_an_error(tmp_path: Path) -> None:
    write_color_folders(tmp_path / "data", 10)
    files = sorted((tmp_path / "data").rglob("*.png"))
    for number, path in enumerate(files[::2]):
        path.write_bytes(b"" if number % 5 else b"no image")
    assert len(check(tmp_path / "data").unreadable) == 15
    files[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"16 of 30 .*13 empty, 3 not an image"):
        check(tmp_path / "data")


def test_a_class_without_training_images_is_named(split_folder: Path) -> None:
    shutil.copytree(split_folder / "train" / "red", split_folder / "test" / "red" / "again")
    with pytest.raises(InputError, match=r"training image .*'red'"):
        check(split_folder)
    assert len(check(split_folder, keep_leaks=True).splits["test"]) == 3 * 8 + 20


def test_findings_have_the_severity_of_an_inspection(color_folder: Path, tmp_path: Path) -> None:
    """Similar images that only our split separates, and copies in predict, are warnings."""
    data_folder = tmp_path / "data"
    shutil.copytree(color_folder, data_folder / "train")
    (data_folder / "predict").mkdir()
    shutil.copy(next((data_folder / "train").rglob("*.png")), data_folder / "predict" / "asked.png")
    pattern = np.kron(np.random.default_rng(0).integers(40, 200, (6, 6)), np.ones((8, 8)))
    for number in range(30):
        frame = pattern[..., None] + [number, 0, 0]
        path = data_folder / "train" / "red" / f"film{number}.png"
        Image.fromarray(frame.astype(np.uint8)).save(path)
    data = check(data_folder)
    folder = read_folder(data_folder)
    inspection = inspect_folder(folder, cache=tmp_path / "seen", threads=1)
    findings = (*data.findings, *inspection.findings)
    assert not [finding for finding in findings if finding.severity == "error"]
    details = [f.detail for f in data.findings if f.problem == "near duplicate"]
    assert any("assigned to different splits" in detail for detail in details)
    assert inspection.problems["predict copy"] == 1
