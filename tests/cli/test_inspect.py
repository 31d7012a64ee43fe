"""`veduta inspect`: findings in a folder with known problems, their files and their page."""

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
from tests.support.hostile_data import read_state
from tests.support.hostile_data import run_commands as commands
from tests.support.pages import URL_ATTRIBUTES, ElementParser, browse
from veduta.errors import InputError
from veduta.tracking.console import Console

PROBLEMS = {  # number of findings of each problem in the folder of `make_faulty_folder`
    "empty": 1,
    "not an image": 1,
    "leak": 1,
    "near leak": 1,
    "conflict": 1,
    "duplicate": 1,
    "missing class": 1,
    "tiny class": 1,
    "blank": 1,
    "class imbalance": 1,
    "dark": 1,
    "aspect ratio": 1,
    "wrong extension": 1,
    "not RGB": 1,
}
ERRORS = 9
CLASS_PROBLEMS = {"missing class", "tiny class", "class imbalance"}


def make_image(number: int) -> Image.Image:
    """Return a unique image: soft spots with grain, so that it is sharp."""
    generator = np.random.default_rng(number)
    spots = Image.fromarray(generator.integers(40, 216, (8, 8, 3), np.uint8))
    pixels = np.asarray(spots.resize((64, 64), Image.Resampling.BICUBIC), np.float64)
    return Image.fromarray(
        np.clip(pixels + generator.normal(0, 8, (64, 64, 3)), 0, 255).astype("u1")
    )


def make_clean_folder(root: Path) -> Path:
    """Write split folders without problems: 12 training and 3 test images of each class."""
    for number, (part, label) in enumerate([(p, c) for p in ("train", "test") for c in "ab"]):
        (root / part / label).mkdir(parents=True)
        for image in range(12 if part == "train" else 3):
            make_image(100 * number + image).save(root / part / label / f"{image}.png")
    return root


def make_faulty_folder(root: Path) -> Path:
    """Write the same folders with one case of every problem in `PROBLEMS`."""
    train, test = make_clean_folder(root) / "train", root / "test"
    Image.open(train / "a" / "0.png").save(test / "a" / "leak.bmp")
    Image.open(train / "a" / "1.png").save(train / "b" / "conflict.png", compress_level=1)
    Image.open(train / "a" / "2.png").save(train / "a" / "again.png")
    Image.open(train / "b" / "3.png").point([min(255, n + 3) for n in range(256)] * 3).save(
        test / "b" / "brighter.png"
    )
    (train / "b" / "page.jpg").write_text("<!doctype html>")
    (train / "b" / "nothing.png").touch()
    (train / "c").mkdir()
    make_image(900).convert("L").save(train / "c" / "grey.png")
    Image.new("RGB", (64, 64), (9, 200, 9)).save(train / "a" / "blank.png")
    Image.fromarray(np.asarray(make_image(901)) // 12).save(train / "a" / "dark.png")
    make_image(902).crop((0, 0, 64, 12)).resize((128, 24)).save(train / "a" / "long.png")
    make_image(903).save(train / "a" / "wrong.jpg", format="PNG")
    return root


@dataclass
class Inspected:
    """Results of `veduta inspect` for a faulty folder and a clean one."""

    folder: Path
    before: Mapping[str, tuple[int, int, bytes]]
    codes: list[int]
    out: str
    err: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Inspected:
    folder = tmp_path_factory.mktemp("inspected")
    before = read_state(make_faulty_folder(folder / "faulty"))
    make_clean_folder(folder / "clean")
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
    return Inspected(folder, before, codes, out.decode(), err.decode())


def test_exit_codes_depend_on_errors_and_strictness(done: Inspected) -> None:
    assert done.codes == [0, 3, 0, 2, 2, 1, 0], done.err
    first, second = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "good" in first
    assert "faulty/train/out" in second
    assert f"{ERRORS} errors, and --strict was given\n" in done.err


def test_every_problem_is_found_and_nothing_else(done: Inspected) -> None:
    summary = json.loads((done.folder / "runs" / "inspect-1" / "inspection.json").read_text())
    assert summary["command"] == "inspect"
    assert summary["problems"] == PROBLEMS
    assert list(summary["problems"]) == list(PROBLEMS), "errors come first"
    assert (summary["files"], summary["decoded_files"], summary["errors"]) == (41, 39, ERRORS)
    by_problem = {
        one["problem"]: {image["path"] for image in one["images"]} for one in summary["findings"]
    }
    assert by_problem["leak"] == {"train/a/0.png", "test/a/leak.bmp"}
    assert by_problem["conflict"] == {"train/a/1.png", "train/b/conflict.png"}
    assert by_problem["duplicate"] == {"train/a/2.png", "train/a/again.png"}
    assert by_problem["near leak"] == {"train/b/3.png", "test/b/brighter.png"}
    assert by_problem["dark"] == {"train/a/dark.png"}
    clean = json.loads((done.folder / "good" / "inspection.json").read_text())
    assert clean["problems"] == {}
    assert clean["counts"] == {"test": {"a": 3, "b": 3}, "train": {"a": 12, "b": 12}}


def test_rejected_csv_contains_each_unreadable_file_once(done: Inspected) -> None:
    table = pd.read_csv(done.folder / "strict" / "rejected.csv", keep_default_na=False)
    assert table[["path", "problem", "action"]].to_numpy().tolist() == [
        ["train/b/nothing.png", "empty", "left out"],
        ["train/b/page.jpg", "not an image", "left out"],
    ]


def test_output_counts_findings_and_names_the_first(done: Inspected) -> None:
    printed = done.out.partition("inspection  runs/inspect-1\n")[0]
    assert re.search(r"leak +1 +2 +error +train copy dropped", printed)
    assert "leak: 1\n  test/a/leak.bmp, train/a/0.png: 2 files with the same pixels" in printed
    assert "images      39 of 41 files can be decoded, in 3 classes" in printed
    assert f"findings    {ERRORS} errors, {len(PROBLEMS) - ERRORS} warnings" in printed


def test_standard_output_contains_only_json(done: Inspected) -> None:
    last = done.out[done.out.rindex("\n{\n") :].partition("codes ")[0]
    assert json.loads(last) == json.loads((done.folder / "json" / "inspection.json").read_text())
    assert str(Path("json") / "inspection.html") in done.err


def test_files_are_not_changed(done: Inspected) -> None:
    assert read_state(done.folder / "faulty") == done.before
    names = {path.name for path in (done.folder / "strict").iterdir()}
    assert names == {"rejected.csv", "inspection.json", "inspection.html"}


def read_page(done: Inspected, folder: str) -> str:
    return (done.folder / folder / "inspection.html").read_text(encoding="utf-8")


def test_page_shows_pairs_side_by_side_and_loads_nothing(done: Inspected) -> None:
    html = read_page(done, "strict")
    elements = ElementParser(html).elements
    assert not {tag for tag, _ in elements} & {"script", "link", "iframe"}
    fetched = [
        a[name] for _, a in elements for name in a if name.rpartition(":")[2] in URL_ATTRIBUTES
    ]
    assert all(one.startswith(("#", "data:image/webp;base64,")) for one in fetched)
    leak = html[html.index('id="leak"') :].partition("</figure>")[0]
    assert leak.count("<img") == 2
    assert leak.index("test/a/leak.bmp") < leak.index("train/a/0.png")
    for problem in PROBLEMS.keys() - {"empty", "not an image"} - CLASS_PROBLEMS:
        assert f'<h2 id="{problem.replace(" ", "-")}">' in html
    assert html.count("<img") == 13
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels == [1] + [2] * (len(levels) - 1)
    assert all(a["alt"] for tag, a in elements if tag == "img")
    names = [a["id"] for _, a in elements if "id" in a]
    assert len(names) == len(set(names))
    assert {a["href"][1:] for _, a in elements if a.get("href", "").startswith("#")} <= set(names)
    assert "No problem was found" in read_page(done, "good")


@pytest.mark.slow
def test_page_fits_into_a_narrow_window(done: Inspected, tmp_path: Path) -> None:
    script = (
        "<script>onload = () => { document.title = "
        "`${document.documentElement.scrollWidth <= innerWidth} of ${document.images.length}`; }"
        "</script>"
    )
    path = tmp_path / "page.html"
    path.write_text(
        read_page(done, "strict").replace("</body>", script + "</body>"), encoding="utf-8"
    )
    shown = browse(path, "--dump-dom", "--window-size=500,900", "--virtual-time-budget=2000")
    assert "<title>true of 13</title>" in shown


def test_page_counts_the_findings_that_it_leaves_out(tmp_path: Path) -> None:
    root = make_clean_folder(tmp_path / "data")
    for image in range(12):  # of each class: as many pairs as are shown, and as many again
        for label in "ab":
            Image.open(root / "train" / label / f"{image}.png").save(
                root / "train" / label / f"again{image}.png"
            )
    for number in range(20):
        pixels = np.asarray(make_image(500 + number)) // 12
        Image.fromarray(pixels).save(root / "train" / "a" / f"dark{number}.png")
    result = veduta.inspect(root, out=tmp_path / "out", console=Console(quiet=True))
    assert result.inspection.problems == {"duplicate": 24, "dark": 20}
    html = (tmp_path / "out" / "inspection.html").read_text(encoding="utf-8")
    assert html.count("<img") == 12 * 2 + 16
    assert "12 more groups" in html
    assert "4 more images" in html


def test_result_has_tables(done: Inspected, tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    result = veduta.inspect(done.folder / "faulty", out=tmp_path / "out", console=quiet)
    assert dict(zip(result.problems["problem"], result.problems["count"], strict=True)) == PROBLEMS
    leak = result.findings[result.findings["problem"] == "leak"]
    assert list(leak["split"]) == ["test", "train"]
    assert set(leak["finding"]) == {3}
    near = result.findings[result.findings["problem"] == "near leak"]
    assert near["distance"].between(0, 8).all()
    assert result.findings["distance"].notna().sum() == 2
    assert f"{len(PROBLEMS)} findings, {ERRORS} errors" in repr(result)
    assert "<bdi>near leak</bdi>" in result._repr_html_()
    with pytest.raises(InputError, match="out exists"):
        veduta.inspect(done.folder / "clean", out=tmp_path / "out", console=quiet)


def test_unsupported_layouts_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    for part in ("Part 1", "Part 2"):
        for label in ("flu", "well"):
            (tmp_path / "lungs" / part / label).mkdir(parents=True)
            make_image(1).save(tmp_path / "lungs" / part / label / "1.png")
    rows = [f"lungs/Part {part}/flu/1.png,{label}" for part, label in ((1, "Flu"), (2, "flu"))]
    (tmp_path / "twins.csv").write_text("\n".join(["image_path,label", *rows]))
    codes, _, err = commands([("inspect", "lungs"), ("inspect", "twins.csv")], cwd=tmp_path)
    assert codes == [2, 2]
    first, second = [line for line in err.decode().splitlines() if line.startswith("error: ")]
    assert "'Part 1', 'Part 2'" in first
    assert "'flu', 'well'" in first
    assert "'Flu'" in second
    assert "'flu'" in second
    assert not (tmp_path / "runs").exists()


def test_other_names_of_splits_are_recognized(tmp_path: Path) -> None:
    make_clean_folder(tmp_path / "data")
    (tmp_path / "data" / "train").rename(tmp_path / "data" / "Training")
    (tmp_path / "data" / "test").rename(tmp_path / "data" / "Testing")
    result = veduta.inspect(tmp_path / "data", out=tmp_path / "out", console=Console(quiet=True))
    counts = {"test": {"a": 3, "b": 3}, "train": {"a": 12, "b": 12}}
    assert result.inspection.counts == counts


def test_a_trailing_space_in_a_label_makes_no_class(tmp_path: Path) -> None:
    make_clean_folder(tmp_path)
    rows = [
        f"{path.relative_to(tmp_path)},{path.parent.name}{' ' * (number % 2)}"
        for number, path in enumerate(sorted(tmp_path.rglob("*.png")))
    ]
    (tmp_path / "list.csv").write_text("\n".join(["image_path,label", *rows]))
    quiet = Console(quiet=True)
    result = veduta.inspect(tmp_path / "list.csv", out=tmp_path / "out", console=quiet)
    assert result.inspection.counts == {"all": {"a": 15, "b": 15}}
