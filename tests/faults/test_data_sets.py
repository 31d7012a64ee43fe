"""Data sets that are too small, too large or cluttered, or have malicious names."""

import csv
import getpass
import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image as Picture

import veduta
from tests.support import hostile_data
from tests.support.hostile_data import (
    CLASSES,
    FORMULAS,
    MARKUP,
    NFC,
    NFD,
    HostileData,
    list_names,
    read_state,
)
from tests.support.pages import ElementParser, browse
from veduta.data.folder import read_folder
from veduta.data.pixels import Image
from veduta.data.sample import Sample
from veduta.data.splits import assign_splits
from veduta.errors import InputError
from veduta.tracking.console import Console

AS_WRITTEN: Any = {"dtype": str, "keep_default_na": False, "encoding_errors": "surrogateescape"}
"""The documented way to read tables of Veduta."""

MATPLOTLIB_FOLDERS = {".cache", ".config"}
"""Folders in the home of the user in which matplotlib stores its list of fonts."""

TORCH_FOLDER = f"torchinductor_{getpass.getuser()}"
"""An empty folder that torch creates among the temporary files."""

SMALL = ("--model", "cnn", "--channels", "8x12", "--image-size", "32", "--epochs", "1",
         "--batch-size", "16", "--augment", "none")  # fmt: skip


@dataclass
class CommandResults:
    """The hostile data set, and the results of the commands.

    Attributes:
        data: the data set.
        before: its state before the commands.
        home: contains the working directory `work`, and `temp` and `cache`.
        codes: exit codes.
        out, err: standard output and standard error.
    """

    data: HostileData
    before: Mapping[str, tuple[int, int, bytes]]
    home: Path
    codes: list[int]
    out: str
    err: str

    def get_path(self, name: str) -> Path:
        """Return the path of an output of a command."""
        return self.home / "work" / name


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> CommandResults:
    """Results of every command that reads images, for the hostile data set."""
    home = tmp_path_factory.mktemp("hostile")
    for name in ("work", "temp", "cache"):
        (home / name).mkdir()
    data = hostile_data.write_hostile_data(home)
    (home / "work" / "-dash.png").write_bytes((data.root / "deep/a/b.png/0.png").read_bytes())
    before = read_state(data.root)
    grid = ("--grid", "lr=3e-3,1e-2", "--folds", "2")
    image = data.root / data.images[MARKUP[0]][0]
    codes, out, err = hostile_data.run_commands(
        [
            ("search", data.root, *SMALL, *grid, "--out", hostile_data.RUN),
            ("predict", hostile_data.RUN, data.root, "--out", "predicted"),
            ("evaluate", hostile_data.RUN, data.root, "--out", "evaluated"),
            ("report", hostile_data.RUN, "--out", "page.html"),
            ("explain", hostile_data.RUN, image, "--out", "explained"),
            ("predict", hostile_data.RUN, "--out", "dashed", "--", "-dash.png"),
            ("inspect", data.root, "--out", "inspected"),
            ("train", data.root / "links" / "nowhere.png", "--out", "never"),
            ("predict", hostile_data.RUN, data.root, "--out", hostile_data.ROOT),
        ],
        cwd=home / "work",
        HOME=str(home),
        TMPDIR=str(home / "temp"),
        VEDUTA_CACHE=str(home / "cache"),
    )
    return CommandResults(data, before, home, codes, out.decode(), err.decode())


def read(path: Path) -> pd.DataFrame:
    """Read a table as text."""
    table: pd.DataFrame = pd.read_csv(path, **AS_WRITTEN)
    return table


# sizes of classes


def write_image(path: Path, shade: int) -> None:
    """Write a small image of one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.new("RGB", (9, 9), (shade, 2 * shade % 256, 3 * shade % 256)).save(path)


def write_classes(root: Path, **sizes: int) -> None:
    """Write class folders with these numbers of images."""
    shade = 0
    for name, size in sizes.items():
        (root / name).mkdir(parents=True)
        for _ in range(size):
            shade += 1
            write_image(root / name / f"{shade}.png", shade)


SIZES: dict[str, tuple[dict[str, int], str]] = {  # images per class, parts of the message
    "no image": (
        {"many": 9, "more": 9, "none": 0},
        "must contain an image; 'none' contain none; add images, or",
    ),
    "one image": ({"many": 9, "few": 1}, "at least 3 distinct readable images, for training,"),
    "two images": ({"many": 9, "few": 2}, "'few' has 2 (identical images count once"),
    "one class": ({"only": 9}, "needs at least two classes; * has only 'only'; add another"),
    "no class": (
        {},
        "must contain a folder per class; it has no folders and 0 images; create folders",
    ),
    "many small ones": (dict.fromkeys("abcdef", 1), "'a' has 1, 'b' has 1, 'c' has 1 and 3 more"),
}


@pytest.mark.parametrize("kind", SIZES)
def test_too_small_data_sets_are_refused_with_their_counts(kind: str, tmp_path: Path) -> None:
    sizes, message = SIZES[kind]
    (tmp_path / "data").mkdir()
    write_classes(tmp_path / "data", **sizes)
    with pytest.raises(InputError) as caught:
        veduta.train(tmp_path / "data", out=tmp_path / "run", console=Console(quiet=True))
    (fault,) = caught.value.faults
    assert all(part in fault for part in message.split("*")), fault
    assert not (tmp_path / "run").exists()


def test_an_empty_training_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    write_image(tmp_path / "test" / "a" / "1.png", 1)
    with pytest.raises(InputError, match="train/ must contain a folder per class"):
        read_folder(tmp_path)


def test_one_training_image_per_class_suffices_in_split_folders(tmp_path: Path) -> None:
    """Splits that Veduta makes need an image of each class; given splits are not changed."""
    for split, size in (("train", 1), ("val", 2), ("test", 3)):
        write_classes(tmp_path / split, a=size, b=size)
    images = make_images(read_folder(tmp_path).samples)
    splits = assign_splits(images, test=None, validation=None, seed=0)
    assert Counter(splits) == {"train": 2, "validation": 4, "test": 6}


def make_images(samples: Sequence[Sample]) -> list[Image]:
    """Return images as if all files had different contents."""
    return [Image(item, hashlib.sha256(os.fsencode(item.name)).hexdigest()) for item in samples]


def test_ten_thousand_classes_are_read_and_split(tmp_path: Path) -> None:
    for number in range(10_000):
        for split in ("train", "test"):
            folder = tmp_path / split / f"{number:04}"
            folder.mkdir(parents=True)
            (folder / "1.jpg").touch()
    data = read_folder(tmp_path)
    assert len(data.classes) == 10_000
    assert Counter(sample.split for sample in data.samples) == {"train": 10_000, "test": 10_000}
    names = [f"{label}/{i}.jpg" for label in data.classes for i in range(5)]
    images = make_images([Sample(Path(name), name, name[:4], None) for name in names])
    splits = assign_splits(images, test=0.2, validation=0.25, seed=3)
    pairs = Counter(zip((image.sample.label for image in images), splits, strict=True))
    each = {"train": 3, "validation": 1, "test": 1}
    assert pairs == {(label, split): n for label in data.classes for split, n in each.items()}
    shuffled = random.Random(1).sample(range(len(images)), len(images))  # noqa: S311
    again = assign_splits([images[i] for i in shuffled], test=0.2, validation=0.25, seed=3)
    assert again == tuple(splits[i] for i in shuffled)


def test_ten_thousand_classes_without_training_images_are_counted(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", a=1, b=1)
    for number in range(10_000):
        (tmp_path / "test" / f"{number}").mkdir(parents=True)
        (tmp_path / "test" / f"{number}" / "1.jpg").touch()
    with pytest.raises(InputError) as caught:
        read_folder(tmp_path)
    assert len(caught.value.faults) == 4
    assert caught.value.faults[-1].endswith("9997 more in test have none")


# other files in the folder


def test_clutter_links_and_pipes_are_ignored_or_rejected(results: CommandResults) -> None:
    data = read_folder(results.data.root)
    assert data.ignored == results.data.ignored
    names = {os.fsencode(sample.name) for sample in data.samples}
    images = {os.fsencode(name) for group in results.data.images.values() for name in group}
    assert names == images | {os.fsencode(name) for name in results.data.rejected}
    for folder in (hostile_data.RUN, "evaluated", "predicted", "inspected"):
        table = read(results.get_path(folder) / "rejected.csv")
        problems = dict(zip(table["path"], table["problem"], strict=True))
        expected = results.data.rejected
        if folder == "predicted":  # names as given, also of files outside the classes
            given = {**expected, "loose.png": "empty"}
            expected = {f"{results.data.root}/{name}": problem for name, problem in given.items()}
        assert problems == expected
        assert len(table) == len(problems)


LOCKED = """
import os, sys
from veduta.data.folder import read_folder
from veduta.errors import InputError

os.chdir(sys.argv[1])  # other users may not enter the parent folders
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    read_folder("photos")
except InputError as error:
    print(error)
"""


def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "photos", a=3, b=3)
    locked = tmp_path / "photos" / "b" / "locked"
    write_image(locked / "1.png", 9)
    tmp_path.chmod(0o755)
    locked.chmod(0)
    try:
        message = subprocess.run(
            [sys.executable, "-c", LOCKED, tmp_path], capture_output=True, text=True, check=True
        ).stdout
    finally:
        locked.chmod(0o755)
    rule = "every folder must be readable; photos/b/locked: Permission denied; change its"
    assert message.startswith(rule), message


# names of files and classes


def test_every_command_succeeds_and_reports_rejected_files(results: CommandResults) -> None:
    assert results.codes == [0, 3, 3, 0, 0, 0, 0, 2, 2], results.err
    assert "Traceback" not in results.err
    lines = results.err.splitlines()
    assert all(line.startswith(("warning: ", "error: ")) for line in lines), lines
    assert sum(line.startswith("error: ") for line in lines) == 2
    for printed in (results.out, results.err):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", printed), (
            "control characters are escaped"
        )


def test_each_image_has_one_row_with_its_name(results: CommandResults) -> None:
    expected = sorted((n, label) for label, names in results.data.images.items() for n in names)
    splits = read(results.get_path(hostile_data.RUN) / "splits.csv")
    assert sorted(zip(splits["path"], splits["label"], strict=True)) == expected
    counts = Counter(zip(splits["label"], splits["split"], strict=True))
    assert counts == {(c, s): n for c in CLASSES for s, n in {"train": 3, "test": 1}.items()}
    assert Counter(zip(splits["label"], splits["fold"], strict=True))[("~", "")] == 1
    predicted = read(results.get_path("predicted") / "predictions.csv")
    assert sorted(predicted["path"]) == sorted(f"{results.data.root}/{n}" for n, _ in expected)
    evaluated = read(results.get_path("evaluated") / "predictions.csv")
    assert sorted(zip(evaluated["path"], evaluated["y_true"], strict=True)) == expected
    assert list(read(results.get_path("dashed") / "predictions.csv")["path"]) == ["-dash.png"]


def test_files_are_written_only_to_the_given_places(results: CommandResults) -> None:
    assert read_state(results.data.root) == results.before
    assert list_names(results.home / "temp") <= {TORCH_FOLDER}
    entries = {path.name for path in results.home.iterdir()}
    assert entries - MATPLOTLIB_FOLDERS == {"work", "temp", "cache", hostile_data.ROOT}
    for name in entries & MATPLOTLIB_FOLDERS:
        assert {path.partition("/")[0] for path in list_names(results.home / name)} == {
            "matplotlib"
        }
    written = {path.name for path in (results.home / "work").iterdir()}
    outs = {"predicted", "evaluated", "page.html", "explained", "dashed", "-dash.png", "inspected"}
    assert written == outs | {hostile_data.RUN}


def test_names_that_look_alike_are_shown_with_escapes(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", **{NFC: 1, "Dog": 1})
    write_classes(tmp_path / "test", **{NFD: 1, "dog": 1})
    with pytest.raises(InputError) as caught:
        read_folder(tmp_path)
    first, second = caught.value.faults
    assert first.endswith(r"They look alike, but 'caf\xe9' is not 'cafe\u0301'")
    assert second.endswith("did you mean 'Dog'?")


# tables keep names unchanged


def test_class_names_that_look_like_numbers_are_not_changed(results: CommandResults) -> None:
    run = results.get_path(hostile_data.RUN)
    for path in ("splits.csv", "label_issues.csv"):
        table = read(run / path)
        assert set(table["label"]) | set(table.get("suggested_label", [])) <= set(CLASSES)
    assert set(read(run / "splits.csv")["label"]) == set(CLASSES)
    ordered = sorted(CLASSES)
    for path in ("per_class.csv", "areas.csv"):
        assert list(read(results.get_path("evaluated") / path)["class"]) == ordered
    counts = read(results.get_path("evaluated") / "confusion.csv")
    assert list(counts.iloc[:, 0]) == ordered
    assert json.loads((run / "model" / "model.json").read_text())["classes"] == ordered
    assert set(veduta.load(run).predict(results.data.root / "nan")["label"]) <= set(CLASSES)
    default = pd.read_csv(run / "splits.csv", encoding_errors="surrogateescape")
    assert default["label"].isna().any(), "by default, pandas reads `nan` as a missing value"


def test_formulas_are_not_changed_in_cells_and_headers(results: CommandResults) -> None:
    """Tables are for programs; there is no export for spreadsheets that would escape them."""
    with (results.get_path("evaluated") / "confusion.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        header = next(csv.reader(file))
    assert header == ["y_true", *sorted(CLASSES)]
    assert set(FORMULAS) <= set(header)
    counts = read(results.get_path("evaluated") / "confusion.csv").iloc[:, 1:].astype(int)
    assert counts.sum(axis=1).tolist() == [hostile_data.IMAGES_PER_CLASS] * len(CLASSES)
    formulas = [name for names in results.data.images.values() for name in names if "/=1+1" in name]
    assert formulas
    assert set(formulas) <= set(read(results.get_path(hostile_data.RUN) / "splits.csv")["path"])


# pages


def test_markup_in_names_is_escaped_on_every_page(results: CommandResults) -> None:
    assert (results.home / "work" / "page.html").is_file()
    pages = [results.get_path(folder) / "report.html" for folder in (hostile_data.RUN, "evaluated")]
    for path in (*pages, results.get_path("inspected") / "inspection.html"):
        html = path.read_text(encoding="utf-8")
        elements = ElementParser(html).elements
        assert not {tag for tag, _ in elements} & {"script", "link", "iframe", "object", "base"}
        assert not [a for _, a in elements if any(name.startswith("on") for name in a)]
        for name in MARKUP:
            assert name.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in html
        assert "{{ 7 * 7 }}" in html


@pytest.mark.slow
def test_no_name_is_executed_in_a_browser(results: CommandResults, tmp_path: Path) -> None:
    html = (results.get_path("evaluated") / "report.html").read_text(encoding="utf-8")
    control = html.replace("<main>", f"<main>{MARKUP[1]}")
    for name, text, owned in (("ours", html, False), ("control", control, True)):
        (tmp_path / name).mkdir()
        page = tmp_path / name / "page.html"
        page.write_text(text, encoding="utf-8")
        output = browse(page, "--dump-dom", "--virtual-time-budget=2000")
        assert ("<title>owned</title>" in output) == owned, name
