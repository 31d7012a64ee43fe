"""`veduta inspect`: what is found in a folder whose faults are known, and where it is written."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import veduta
from tests.faults.hostile import contents
from tests.faults.hostile import veduta as commands
from tests.support.pages import URL_ATTRIBUTES, ElementParser, browse
from veduta.errors import InputError
from veduta.tracking.console import Console

FOUND = {  # findings of each problem in `faulty`, by how it was made
    "empty": 1,
    "not an image": 1,
    "leak": 1,
    "near leak": 1,
    "conflict": 1,
    "duplicate": 1,
    "missing class": 1,
    "tiny class": 1,
    "blank": 1,
    "uneven classes": 1,
    "dark": 1,
    "odd shape": 1,
    "wrong extension": 1,
    "not RGB": 1,
}
WEIGH = 9
OF_CLASSES = {"missing class", "tiny class", "uneven classes"}


def scene(number: int) -> Image.Image:
    """A picture like no other: soft spots, and grain so that it is sharp."""
    generator = np.random.default_rng(number)
    spots = Image.fromarray(generator.integers(40, 216, (8, 8, 3), np.uint8))
    pixels = np.asarray(spots.resize((64, 64), Image.Resampling.BICUBIC), np.float64)
    return Image.fromarray(
        np.clip(pixels + generator.normal(0, 8, (64, 64, 3)), 0, 255).astype("u1")
    )


def clean(root: Path) -> Path:
    """Split folders without a fault: 12 images of each class train, 3 judge."""
    for number, (part, label) in enumerate([(p, c) for p in ("train", "test") for c in "ab"]):
        (root / part / label).mkdir(parents=True)
        for image in range(12 if part == "train" else 3):
            scene(100 * number + image).save(root / part / label / f"{image}.png")
    return root


def faulty(root: Path) -> Path:
    """The same, and one of every fault in `FOUND`."""
    train, test = clean(root) / "train", root / "test"
    Image.open(train / "a" / "0.png").save(test / "a" / "leak.bmp")
    Image.open(train / "a" / "1.png").save(train / "b" / "conflict.png", compress_level=1)
    Image.open(train / "a" / "2.png").save(train / "a" / "again.png")
    Image.open(train / "b" / "3.png").point([min(255, n + 3) for n in range(256)] * 3).save(
        test / "b" / "brighter.png"
    )
    (train / "b" / "page.jpg").write_text("<!doctype html>")
    (train / "b" / "nothing.png").touch()
    (train / "c").mkdir()
    scene(900).convert("L").save(train / "c" / "grey.png")
    Image.new("RGB", (64, 64), (9, 200, 9)).save(train / "a" / "blank.png")
    Image.fromarray(np.asarray(scene(901)) // 12).save(train / "a" / "dark.png")
    scene(902).crop((0, 0, 64, 12)).resize((128, 24)).save(train / "a" / "long.png")
    scene(903).save(train / "a" / "wrong.jpg", format="PNG")
    return root


@dataclass
class Done:
    """What `veduta inspect` made of a faulty folder and of a clean one."""

    folder: Path
    before: Mapping[str, tuple[int, int, bytes]]
    codes: list[int]
    out: str
    err: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("inspected")
    before = contents(faulty(folder / "faulty"))
    clean(folder / "clean")
    for label in "ab":
        (folder / "broken" / label).mkdir(parents=True)
        (folder / "broken" / label / "1.jpg").write_bytes(b"\xff\xd8\xff broken")
    codes, out, err = commands(
        [
            ("inspect", "faulty"),
            ("inspect", "faulty", "--strict", "--out", "strict"),
            ("inspect", "clean", "--strict", "--out", "good"),
            ("inspect", "faulty", "--out", "good"),
            ("inspect", "faulty", "--out", "faulty/train/out"),
            ("inspect", "broken", "--out", "none"),
            ("inspect", "faulty", "--json", "--out", "json"),
        ],
        cwd=folder,
    )
    return Done(folder, before, codes, out.decode(), err.decode())


def test_codes_say_whether_a_finding_weighs(done: Done) -> None:
    assert done.codes == [0, 3, 0, 2, 2, 1, 0], done.err
    first, second = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "good exists: choose another name" in first
    assert "must not lie in the folder of images" in second
    assert f"warning: {WEIGH} findings in the data weigh, and --strict was given\n" in done.err


def test_every_fault_is_found_and_nothing_else(done: Done) -> None:
    found = json.loads((done.folder / "runs" / "inspect-1" / "inspection.json").read_text())
    assert found["command"] == "inspect"
    assert found["problems"] == FOUND
    assert list(found["problems"]) == list(FOUND), "what weighs comes first"
    assert (found["files"], found["readable"], found["weigh"]) == (41, 39, WEIGH)
    by_problem = {
        one["problem"]: {image["path"] for image in one["images"]} for one in found["findings"]
    }
    assert by_problem["leak"] == {"train/a/0.png", "test/a/leak.bmp"}
    assert by_problem["conflict"] == {"train/a/1.png", "train/b/conflict.png"}
    assert by_problem["duplicate"] == {"train/a/2.png", "train/a/again.png"}
    assert by_problem["near leak"] == {"train/b/3.png", "test/b/brighter.png"}
    assert by_problem["dark"] == {"train/a/dark.png"}
    none = json.loads((done.folder / "good" / "inspection.json").read_text())
    assert none["problems"] == {}
    assert none["counts"] == {"test": {"a": 3, "b": 3}, "train": {"a": 12, "b": 12}}


def test_rejected_csv_has_each_file_that_cannot_be_read_once(done: Done) -> None:
    table = pd.read_csv(done.folder / "strict" / "rejected.csv", keep_default_na=False)
    assert table[["path", "problem", "action"]].to_numpy().tolist() == [
        ["train/b/nothing.png", "empty", "left out"],
        ["train/b/page.jpg", "not an image", "left out"],
    ]


def test_the_terminal_counts_and_names_the_first(done: Done) -> None:
    printed = done.out.partition("inspection  runs/inspect-1\n")[0]
    assert re.search(r"leak +1 +2 +yes +train copy dropped", printed)
    assert "leak: 1\n  test/a/leak.bmp, train/a/0.png: 2 files with the same pixels" in printed
    assert "images      39 of 41 files can be read, in 3 classes" in printed
    assert f"found       {WEIGH} findings that weigh, {len(FOUND) - WEIGH} notes" in printed


def test_json_is_all_that_standard_output_has(done: Done) -> None:
    last = done.out[done.out.rindex("\n{\n") :].partition("codes ")[0]
    assert json.loads(last) == json.loads((done.folder / "json" / "inspection.json").read_text())
    assert str(Path("json") / "inspection.html") in done.err


def test_the_files_are_as_they_were(done: Done) -> None:
    assert contents(done.folder / "faulty") == done.before
    names = {path.name for path in (done.folder / "strict").iterdir()}
    assert names == {"rejected.csv", "inspection.json", "inspection.html"}


def page(done: Done, folder: str) -> str:
    return (done.folder / folder / "inspection.html").read_text(encoding="utf-8")


def test_the_page_shows_pairs_side_by_side_and_needs_nothing_else(done: Done) -> None:
    html = page(done, "strict")
    elements = ElementParser(html).elements
    assert not {tag for tag, _ in elements} & {"script", "link", "iframe"}
    fetched = [
        a[name] for _, a in elements for name in a if name.rpartition(":")[2] in URL_ATTRIBUTES
    ]
    assert all(one.startswith(("#", "data:image/webp;base64,")) for one in fetched)
    leak = html[html.index('id="leak"') :].partition("</figure>")[0]
    assert leak.count("<img") == 2
    assert leak.index("test/a/leak.bmp") < leak.index("train/a/0.png")
    for problem in FOUND.keys() - {"empty", "not an image"} - OF_CLASSES:
        assert f'<h2 id="{problem.replace(" ", "-")}">' in html
    assert html.count("<img") == 13
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels == [1] + [2] * (len(levels) - 1)
    assert all(a["alt"] for tag, a in elements if tag == "img")
    names = [a["id"] for _, a in elements if "id" in a]
    assert len(names) == len(set(names))
    assert {a["href"][1:] for _, a in elements if a.get("href", "").startswith("#")} <= set(names)
    assert "Nothing: every file can be read" in page(done, "good")


@pytest.mark.slow
def test_the_page_fits_a_window(done: Done, tmp_path: Path) -> None:
    script = (
        "<script>onload = () => { document.title = "
        "`${document.documentElement.scrollWidth <= innerWidth} of ${document.images.length}`; }"
        "</script>"
    )
    path = tmp_path / "page.html"
    path.write_text(page(done, "strict").replace("</body>", script + "</body>"), encoding="utf-8")
    shown = browse(path, "--dump-dom", "--window-size=500,900", "--virtual-time-budget=2000")
    assert "<title>true of 13</title>" in shown


def test_what_is_not_shown_is_counted(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    for image in range(12):  # of each class: as many pairs as are shown, and as many again
        for label in "ab":
            Image.open(root / "train" / label / f"{image}.png").save(
                root / "train" / label / f"again{image}.png"
            )
    for number in range(20):
        pixels = np.asarray(scene(500 + number)) // 12
        Image.fromarray(pixels).save(root / "train" / "a" / f"dark{number}.png")
    found = veduta.inspect(root, out=tmp_path / "out", console=Console(quiet=True))
    assert found.inspection.problems == {"duplicate": 24, "dark": 20}
    html = (tmp_path / "out" / "inspection.html").read_text(encoding="utf-8")
    assert html.count("<img") == 12 * 2 + 16
    assert "12 more groups are not shown; inspection.json has all." in html
    assert "4 more images are not shown; inspection.json has all." in html


def test_python_has_tables(done: Done, tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    found = veduta.inspect(done.folder / "faulty", out=tmp_path / "out", console=quiet)
    assert dict(zip(found.problems["problem"], found.problems["count"], strict=True)) == FOUND
    leak = found.findings[found.findings["problem"] == "leak"]
    assert list(leak["split"]) == ["test", "train"]
    assert set(leak["finding"]) == {3}
    near = found.findings[found.findings["problem"] == "near leak"]
    assert near["distance"].between(0, 8).all()
    assert found.findings["distance"].notna().sum() == 2
    assert "14 findings, 9 of them weigh" in repr(found)
    assert "<bdi>near leak</bdi>" in found._repr_html_()
    with pytest.raises(InputError, match="out exists"):
        veduta.inspect(done.folder / "clean", out=tmp_path / "out", console=quiet)


def test_what_is_no_set_of_classes_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    for part in ("Part 1", "Part 2"):
        for label in ("flu", "well"):
            (tmp_path / "lungs" / part / label).mkdir(parents=True)
            scene(1).save(tmp_path / "lungs" / part / label / "1.png")
    rows = [f"lungs/Part {part}/flu/1.png,{label}" for part, label in ((1, "Flu"), (2, "flu"))]
    (tmp_path / "twins.csv").write_text("\n".join(["image_path,label", *rows]))
    codes, _, err = commands([("inspect", "lungs"), ("inspect", "twins.csv")], cwd=tmp_path)
    assert codes == [2, 2]
    first, second = [line for line in err.decode().splitlines() if line.startswith("error: ")]
    assert "'Part 1', 'Part 2' hold 'flu', 'well' each" in first
    assert "got 'Flu' and 'flu'" in second
    assert not (tmp_path / "runs").exists()


def test_splits_in_other_words_are_splits(tmp_path: Path) -> None:
    clean(tmp_path / "data")
    (tmp_path / "data" / "train").rename(tmp_path / "data" / "Training")
    (tmp_path / "data" / "test").rename(tmp_path / "data" / "Testing")
    found = veduta.inspect(tmp_path / "data", out=tmp_path / "out", console=Console(quiet=True))
    counts = {"test": {"a": 3, "b": 3}, "train": {"a": 12, "b": 12}}
    assert found.inspection.counts == counts


def test_a_space_behind_a_label_makes_no_class(tmp_path: Path) -> None:
    clean(tmp_path)
    rows = [
        f"{path.relative_to(tmp_path)},{path.parent.name}{' ' * (number % 2)}"
        for number, path in enumerate(sorted(tmp_path.rglob("*.png")))
    ]
    (tmp_path / "list.csv").write_text("\n".join(["image_path,label", *rows]))
    quiet = Console(quiet=True)
    found = veduta.inspect(tmp_path / "list.csv", out=tmp_path / "out", console=quiet)
    assert found.inspection.counts == {"all": {"a": 15, "b": 15}}
