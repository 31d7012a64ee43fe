"""Data sets that are too small, too large, cluttered or called as nothing should be (rows E)."""

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
    Hostile,
    contents,
    names_below,
)
from tests.support.pages import ElementParser, browse
from veduta.data.folder import read_folder
from veduta.data.pixels import Image
from veduta.data.sample import Sample
from veduta.data.splits import assign_splits
from veduta.errors import InputError
from veduta.tracking.console import Console

AS_WRITTEN: Any = {"dtype": str, "keep_default_na": False, "encoding_errors": "surrogateescape"}
"""The way to read our tables that is documented."""

MATPLOTLIBS = {".cache", ".config"}
"""Where matplotlib keeps the list of fonts, below the home of the user."""

TORCHS = f"torchinductor_{getpass.getuser()}"
"""A folder that torch makes and leaves empty, in the place for temporary files."""

SMALL = ("--model", "cnn", "--channels", "8x12", "--image-size", "32", "--epochs", "1",
         "--batch-size", "16", "--augment", "none")  # fmt: skip


@dataclass
class Done:
    """The hostile data set, and what the commands made of it."""

    data: Hostile
    before: Mapping[str, tuple[int, int, bytes]]
    home: Path  # with what a process finds around it: work, temp, cache
    codes: list[int]
    out: str
    err: str

    def at(self, name: str) -> Path:
        """What a command wrote."""
        return self.home / "work" / name


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Every command that reads images, on the hostile data set, in one process."""
    home = tmp_path_factory.mktemp("hostile")
    for name in ("work", "temp", "cache"):
        (home / name).mkdir()
    data = hostile_data.write_hostile(home)
    (home / "work" / "-dash.png").write_bytes((data.root / "deep/a/b.png/0.png").read_bytes())
    before = contents(data.root)
    grid = ("--grid", "lr=3e-3,1e-2", "--folds", "2")
    one = data.root / data.images[MARKUP[0]][0]
    codes, out, err = hostile_data.veduta(
        [
            ("search", data.root, *SMALL, *grid, "--out", hostile_data.RUN),
            ("predict", hostile_data.RUN, data.root, "--out", "predicted"),
            ("evaluate", hostile_data.RUN, data.root, "--out", "evaluated"),
            ("report", hostile_data.RUN, "--out", "page.html"),
            ("explain", hostile_data.RUN, one, "--out", "explained"),
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
    return Done(data, before, home, codes, out.decode(), err.decode())


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, **AS_WRITTEN)


# E1: sizes of classes


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.new("RGB", (9, 9), (shade, 2 * shade % 256, 3 * shade % 256)).save(path)


def classes_of(root: Path, **sizes: int) -> None:
    shade = 0
    for name, size in sizes.items():
        (root / name).mkdir(parents=True)
        for _ in range(size):
            shade += 1
            picture(root / name / f"{shade}.png", shade)


SIZES: dict[str, tuple[dict[str, int], str]] = {  # images a class; what is said
    "no image": (
        {"many": 9, "more": 9, "none": 0},
        "must contain an image; 'none' contain none; add images, or",
    ),
    "one image": ({"many": 9, "few": 1}, "at least 3 distinct readable images, for training,"),
    "two images": ({"many": 9, "few": 2}, "'few' has 2 (identical images count once"),
    "one class": ({"only": 9}, "needs at least two classes; * has only 'only'; add another"),
    "no class": ({}, "must contain a folder per class; images directly in it: 0; create them"),
    "many small ones": (dict.fromkeys("abcdef", 1), "'a' has 1, 'b' has 1, 'c' has 1 and 3 more"),
}


@pytest.mark.parametrize("kind", SIZES)
def test_e1_what_is_too_small_is_refused_with_its_counts(kind: str, tmp_path: Path) -> None:
    sizes, told = SIZES[kind]
    (tmp_path / "data").mkdir()
    classes_of(tmp_path / "data", **sizes)
    with pytest.raises(InputError) as caught:
        veduta.train(tmp_path / "data", out=tmp_path / "run", console=Console(quiet=True))
    (fault,) = caught.value.faults
    assert all(part in fault for part in told.split("*")), fault
    assert not (tmp_path / "run").exists()


def test_e1_an_empty_training_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    picture(tmp_path / "test" / "a" / "1.png", 1)
    with pytest.raises(InputError, match="train/ must contain a folder per class"):
        read_folder(tmp_path)


def test_e1_one_image_a_class_will_do_where_the_others_came(tmp_path: Path) -> None:
    """Parts of ours need an image of each class; parts that came are as they came."""
    for part, size in (("train", 1), ("val", 2), ("test", 3)):
        classes_of(tmp_path / part, a=size, b=size)
    images = images_of(read_folder(tmp_path).samples)
    parts = assign_splits(images, test=None, validation=None, seed=0)
    assert Counter(parts) == {"train": 2, "validation": 4, "test": 6}


def images_of(samples: Sequence[Sample]) -> list[Image]:
    """As if each file had a content of its own."""
    return [Image(one, hashlib.sha256(os.fsencode(one.name)).hexdigest()) for one in samples]


def test_e1_ten_thousand_classes_are_read_and_divided(tmp_path: Path) -> None:
    for number in range(10_000):
        for part in ("train", "test"):
            folder = tmp_path / part / f"{number:04}"
            folder.mkdir(parents=True)
            (folder / "1.jpg").touch()
    data = read_folder(tmp_path)
    assert len(data.classes) == 10_000
    assert Counter(one.split for one in data.samples) == {"train": 10_000, "test": 10_000}
    names = [f"{label}/{i}.jpg" for label in data.classes for i in range(5)]
    images = images_of([Sample(Path(name), name, name[:4], None) for name in names])
    parts = assign_splits(images, test=0.2, validation=0.25, seed=3)
    pairs = Counter(zip((one.sample.label for one in images), parts, strict=True))
    each = {"train": 3, "validation": 1, "test": 1}
    assert pairs == {(label, part): n for label in data.classes for part, n in each.items()}
    shuffled = random.Random(1).sample(range(len(images)), len(images))  # noqa: S311
    again = assign_splits([images[i] for i in shuffled], test=0.2, validation=0.25, seed=3)
    assert again == tuple(parts[i] for i in shuffled)


def test_e1_ten_thousand_classes_that_training_lacks_are_counted(tmp_path: Path) -> None:
    classes_of(tmp_path / "train", a=1, b=1)
    for number in range(10_000):
        (tmp_path / "test" / f"{number}").mkdir(parents=True)
        (tmp_path / "test" / f"{number}" / "1.jpg").touch()
    with pytest.raises(InputError) as caught:
        read_folder(tmp_path)
    assert len(caught.value.faults) == 4
    assert caught.value.faults[-1].endswith("9997 more in test have none")


# E2: what else lies in the folder


def test_e2_clutter_links_and_pipes_neither_count_nor_block(done: Done) -> None:
    data = read_folder(done.data.root)
    assert data.ignored == done.data.ignored
    found = {os.fsencode(one.name) for one in data.samples}
    images = {os.fsencode(name) for names in done.data.images.values() for name in names}
    assert found == images | {os.fsencode(name) for name in done.data.rejected}
    for folder in (hostile_data.RUN, "evaluated", "predicted", "inspected"):
        table = read(done.at(folder) / "rejected.csv")
        told = dict(zip(table["path"], table["problem"], strict=True))
        expected = done.data.rejected
        if folder == "predicted":  # by the names that were given, whatever lies in no class too
            given = {**expected, "loose.png": "empty"}
            expected = {f"{done.data.root}/{name}": what for name, what in given.items()}
        assert told == expected
        assert len(table) == len(told)


LOCKED = """
import os, sys
from veduta.data.folder import read_folder
from veduta.errors import InputError

os.chdir(sys.argv[1])  # the folders above may be closed to others
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    read_folder("photos")
except InputError as error:
    print(error)
"""


def test_e2_a_folder_that_nobody_may_read_is_named(tmp_path: Path) -> None:
    classes_of(tmp_path / "photos", a=3, b=3)
    locked = tmp_path / "photos" / "b" / "locked"
    picture(locked / "1.png", 9)
    tmp_path.chmod(0o755)
    locked.chmod(0)
    try:
        told = subprocess.run(
            [sys.executable, "-c", LOCKED, tmp_path], capture_output=True, text=True, check=True
        ).stdout
    finally:
        locked.chmod(0o755)
    rule = "every folder must be readable; photos/b/locked: Permission denied; change its"
    assert told.startswith(rule), told


# E4: what files and classes are called


def test_e4_every_command_goes_through_and_says_what_it_could_not_read(done: Done) -> None:
    assert done.codes == [0, 3, 3, 0, 0, 0, 0, 2, 2], done.err
    assert "Traceback" not in done.err
    lines = done.err.splitlines()
    assert all(line.startswith(("warning: ", "error: ")) for line in lines), lines
    assert sum(line.startswith("error: ") for line in lines) == 2
    for printed in (done.out, done.err):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", printed), "a name moves the cursor"


def test_e4_each_image_has_one_row_under_its_own_name(done: Done) -> None:
    expected = sorted((n, label) for label, names in done.data.images.items() for n in names)
    splits = read(done.at(hostile_data.RUN) / "splits.csv")
    assert sorted(zip(splits["path"], splits["label"], strict=True)) == expected
    parts = Counter(zip(splits["label"], splits["split"], strict=True))
    assert parts == {(c, p): n for c in CLASSES for p, n in {"train": 3, "test": 1}.items()}
    assert Counter(zip(splits["label"], splits["fold"], strict=True))[("~", "")] == 1
    predicted = read(done.at("predicted") / "predictions.csv")
    assert sorted(predicted["path"]) == sorted(f"{done.data.root}/{n}" for n, _ in expected)
    judged = read(done.at("evaluated") / "predictions.csv")
    assert sorted(zip(judged["path"], judged["y_true"], strict=True)) == expected
    assert list(read(done.at("dashed") / "predictions.csv")["path"]) == ["-dash.png"]


def test_e4_nothing_is_written_but_where_it_was_asked_for(done: Done) -> None:
    assert contents(done.data.root) == done.before
    assert names_below(done.home / "temp") <= {TORCHS}
    above = {path.name for path in done.home.iterdir()}
    assert above - MATPLOTLIBS == {"work", "temp", "cache", hostile_data.ROOT}
    for name in above & MATPLOTLIBS:
        assert {one.partition("/")[0] for one in names_below(done.home / name)} == {"matplotlib"}
    written = {path.name for path in (done.home / "work").iterdir()}
    outs = {"predicted", "evaluated", "page.html", "explained", "dashed", "-dash.png", "inspected"}
    assert written == outs | {hostile_data.RUN}


def test_e4_twins_are_told_apart_by_how_they_are_written(tmp_path: Path) -> None:
    classes_of(tmp_path / "train", **{NFC: 1, "Dog": 1})
    classes_of(tmp_path / "test", **{NFD: 1, "dog": 1})
    with pytest.raises(InputError) as caught:
        read_folder(tmp_path)
    first, second = caught.value.faults
    assert first.endswith(r"They look alike, but 'caf\xe9' is not 'cafe\u0301'")
    assert second.endswith("did you mean 'Dog'?")


# E5 and E6: our tables are data, and read back as they were written


def test_e5_classes_that_look_like_numbers_stay_as_they_are(done: Done) -> None:
    run = done.at(hostile_data.RUN)
    for path in ("splits.csv", "label_issues.csv"):
        table = read(run / path)
        assert set(table["label"]) | set(table.get("suggested_label", [])) <= set(CLASSES)
    assert set(read(run / "splits.csv")["label"]) == set(CLASSES)
    ordered = sorted(CLASSES)
    for path in ("per_class.csv", "areas.csv"):
        assert list(read(done.at("evaluated") / path)["class"]) == ordered
    counts = read(done.at("evaluated") / "confusion.csv")
    assert list(counts.iloc[:, 0]) == ordered
    assert json.loads((run / "model" / "model.json").read_text())["classes"] == ordered
    assert set(veduta.load(run).predict(done.data.root / "nan")["label"]) <= set(CLASSES)
    careless = pd.read_csv(run / "splits.csv", encoding_errors="surrogateescape")
    assert careless["label"].isna().any(), "a careless reader loses `nan`, so this test can fail"


def test_e6_formulas_are_text_in_cells_and_headers(done: Done) -> None:
    """There is no export to a spreadsheet: nothing is put before a cell, so that none changes."""
    with (done.at("evaluated") / "confusion.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header == ["y_true", *sorted(CLASSES)]
    assert set(FORMULAS) <= set(header)
    counts = read(done.at("evaluated") / "confusion.csv").iloc[:, 1:].astype(int)
    assert counts.sum(axis=1).tolist() == [hostile_data.A_CLASS] * len(CLASSES)
    formulas = [name for names in done.data.images.values() for name in names if "/=1+1" in name]
    assert formulas
    assert set(formulas) <= set(read(done.at(hostile_data.RUN) / "splits.csv")["path"])


# E7: what pages show


def test_e7_markup_in_names_is_text_on_every_page(done: Done) -> None:
    assert (done.home / "work" / "page.html").is_file()
    pages = [done.at(folder) / "report.html" for folder in (hostile_data.RUN, "evaluated")]
    for path in (*pages, done.at("inspected") / "inspection.html"):
        html = path.read_text(encoding="utf-8")
        elements = ElementParser(html).elements
        assert not {tag for tag, _ in elements} & {"script", "link", "iframe", "object", "base"}
        assert not [a for _, a in elements if any(name.startswith("on") for name in a)]
        for name in MARKUP:
            assert name.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in html
        assert "{{ 7 * 7 }}" in html


@pytest.mark.slow
def test_e7_no_name_runs_in_a_browser(done: Done, tmp_path: Path) -> None:
    html = (done.at("evaluated") / "report.html").read_text(encoding="utf-8")
    control = html.replace("<main>", f"<main>{MARKUP[1]}")
    for name, text, owned in (("ours", html, False), ("control", control, True)):
        (tmp_path / name).mkdir()
        page = tmp_path / name / "page.html"
        page.write_text(text, encoding="utf-8")
        shown = browse(page, "--dump-dom", "--virtual-time-budget=2000")
        assert ("<title>owned</title>" in shown) == owned, name
