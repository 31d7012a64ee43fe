"""The report of a run: reproducible bytes, no external requests, safe for any name."""

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

import veduta
from tests.support.hostile_names import CLASSES, write_hostile_images
from tests.support.pages import URL_ATTRIBUTES, ElementParser, browse, record_requests
from veduta.errors import InputError
from veduta.results.run import Run
from veduta.runs.summary import PredictionSummary, write_summary
from veduta.tracking.console import Console
from veduta.tracking.text import make_visible

QUIET = Console(quiet=True)
SMALL: dict[str, Any] = {"image_size": 32, "epochs": 3, "engine": "torch", "console": QUIET}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a search with folds on images with hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    data = write_hostile_images(folder / "data")
    grid = {"lr": [3e-3, 1e-2], "dropout": [0.0, 0.3]}
    return veduta.search(data, grid=grid, folds=2, out=folder / "run", **SMALL)


@pytest.fixture(scope="module")
def html(run: Run) -> str:
    return run.directory.report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def elements(html: str) -> list[tuple[str, dict[str, str]]]:
    return ElementParser(html).elements


def test_the_report_is_reproduced_from_the_directory_alone(run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run.directory.path, moved)
    (moved / "report.html").unlink()
    shutil.rmtree(moved / "model")
    assert veduta.report(moved) == moved / "report.html"
    assert (moved / "report.html").read_bytes() == run.directory.report.read_bytes()
    assert veduta.report(moved, out=tmp_path / "other.html").read_bytes() == (
        run.directory.report.read_bytes()
    )
    with pytest.raises(InputError, match="never overwritten"):
        veduta.report(moved, out=tmp_path / "other.html")


def test_names_are_escaped_and_isolated(
    run: Run, html: str, elements: list[tuple[str, dict[str, str]]]
) -> None:
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base"}
    assert not [a for _, a in elements if any(name.startswith("on") for name in a)]
    assert "&lt;script&gt;alert(1)&lt;!--" in html
    assert "<bdi>new\N{SYMBOL FOR LINE FEED}line</bdi>" in html
    assert "&lt;img src=x onerror=alert(2)&gt;\N{SYMBOL FOR LINE FEED}\\xff" in html
    assert "fox \N{FOX FACE}" in html
    assert r"<bdi>\u202egpj.exe</bdi>" in html
    hebrew = "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} (1"
    previous = {html[match.start() - 1] for match in re.finditer(re.escape(hebrew), html)}
    assert {">"} < previous <= {">", "/", "\N{FIRST STRONG ISOLATE}"}  # name, path, attribute
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in html
    assert run.summary.data.rejected_files == 1
    assert "broken &lt;b&gt;.png" in html


def test_the_page_references_no_external_resources(
    html: str, elements: list[tuple[str, dict[str, str]]]
) -> None:
    urls = [a[name] for _, a in elements for name in a if name.rpartition(":")[2] in URL_ATTRIBUTES]
    urls += re.findall(r"url\(\s*['\"]?([^)'\"]*)", html)
    external = [link for link in urls if not link.startswith(("#", "data:image/webp;base64,"))]
    assert urls
    assert external == []
    assert "@import" not in html
    names = [a["id"] for _, a in elements if "id" in a]
    assert len(names) == len(set(names))
    targets = {a["href"][1:] for _, a in elements if a.get("href", "").startswith("#")}
    assert targets | set(re.findall(r"url\(#([^)]*)\)", html)) <= set(names)


def test_the_page_is_accessible_to_screen_readers(
    elements: list[tuple[str, dict[str, str]]],
) -> None:
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(len(a["aria-label"]) > 20 for tag, a in elements if tag == "svg")
    assert all(a["alt"] for tag, a in elements if tag == "img")
    assert all(a.get("aria-label") for tag, a in elements if "tabindex" in a and tag != "pre")
    assert ("html", {"lang": "en"}) in elements


def test_each_cell_of_the_matrix_links_to_its_images(
    run: Run, elements: list[tuple[str, dict[str, str]]]
) -> None:
    test = run.assessment.test
    assert test is not None
    cells = {(int(t), int(p)) for t, p in zip(test.y_true, test.y_pred, strict=True)}
    panels = {a["id"] for tag, a in elements if a.get("class") == "cell"}
    assert panels == {f"cell-{y_true}-{y_pred}" for y_true, y_pred in cells}
    links = {a["href"][1:] for tag, a in elements if a.get("href", "").startswith("#cell-")}
    assert links == panels


def test_a_run_without_pictures_has_a_report(run: Run, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(run.directory.path, bare, ignore=shutil.ignore_patterns("media"))
    html = veduta.report(bare).read_text(encoding="utf-8")
    assert "<img" not in html
    assert "The report has no pictures of these images." in html


def test_damaged_files_are_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"summary\.json: .*No such file"):
        veduta.report(tmp_path)
    damaged = tmp_path / "damaged"
    shutil.copytree(run.directory.path, damaged)
    index = damaged / "media" / "index.json"
    content = json.loads(index.read_text())
    next(iter(damaged.glob("media/*.png"))).unlink()
    with pytest.raises(InputError, match=r"media/\d+\.png: No such file"):
        veduta.report(damaged)
    content["gallery"][0]["picture"] = "../summary.json"  # outside the media folder
    index.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"media/summary\.json: No such file"):
        veduta.report(damaged)
    index.write_text("{")
    with pytest.raises(InputError, match="restore the folder, or remove it"):
        veduta.report(damaged)
    other = tmp_path / "other"
    other.mkdir()
    predictions = PredictionSummary(run="run", images=1, rejected_files=0, labels={"a": 1})
    write_summary(other / "summary.json", predictions)
    with pytest.raises(InputError, match="was written by `veduta predict`"):
        veduta.report(other)


def test_the_report_of_an_evaluation_is_reproduced(run: Run, tmp_path: Path) -> None:
    data = write_hostile_images(tmp_path / "data", count=3)
    evaluation = veduta.evaluate(run.directory.path, data, out=tmp_path / "out", console=QUIET)
    assert evaluation.directory is not None
    first = (evaluation.directory / "report.html").read_bytes()
    shutil.rmtree(data)
    assert veduta.report(evaluation.directory).read_bytes() == first
    html = first.decode()
    assert f"{evaluation.accuracy.value:.1%}" in html
    assert all(f">{escape(make_visible(name.decode()))}<" in html for name in CLASSES)
    assert "<script" not in html
    assert "trained or selected on" in html


def test_the_report_of_one_trial_has_no_leaderboard(color_folder: Path, tmp_path: Path) -> None:
    run = veduta.train(color_folder, lr=1e-2, out=tmp_path / "run", **SMALL)
    html = run.directory.report.read_text(encoding="utf-8")
    assert 'id="leaderboard"' not in html
    assert 'id="settings"' not in html
    assert 'id="curves"' in html
    assert "One trial was trained" in html


@pytest.mark.slow
def test_a_browser_makes_no_requests_and_shows_a_selected_cell(html: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert (
        record_requests(html, tmp_path / "plain", expected="Report of the image classifier")
        == set()
    )
    cell = re.search(r'id="(cell-\d-\d)"', html)
    assert cell
    script = (
        "<script>onload = () => { const panel = document.getElementById('CELL');"
        "const shown = () => getComputedStyle(panel).display; const before = shown();"
        "document.querySelector('a[href=\"#CELL\"]').click(); setTimeout(() => {"
        "document.title = `${before} then ${shown()}, ${document.documentElement.scrollWidth <= "
        "innerWidth}`; }, 50); }</script>"
    ).replace("CELL", cell[1])
    page = tmp_path / "clicked.html"
    page.write_text(html.replace("</body>", script + "</body>"), encoding="utf-8")
    output = browse(page, "--dump-dom", "--window-size=500,900", "--virtual-time-budget=2000")
    assert "<title>none then block, true</title>" in output
