"""The page of a run: drawn again byte for byte, closed to the outside, and safe from any name."""

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

import veduta
from tests.reporting.hostile import CLASSES, paint_hostile
from tests.support.pages import URL_ATTRIBUTES, ElementParser, browse, record_requests
from veduta.errors import InputError
from veduta.results.run import Run
from veduta.tracking.console import Console
from veduta.tracking.html import visible

QUIET = Console(quiet=True)
SMALL: dict[str, Any] = {"image_size": 32, "epochs": 3, "engine": "torch", "console": QUIET}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search with folds over hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    data = paint_hostile(folder / "data")
    grid = {"lr": [3e-3, 1e-2], "dropout": [0.0, 0.3]}
    return veduta.search(data, grid=grid, folds=2, out=folder / "run", **SMALL)


@pytest.fixture(scope="module")
def html(run: Run) -> str:
    return run.directory.report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def elements(html: str) -> list[tuple[str, dict[str, str]]]:
    return ElementParser(html).elements


def test_it_is_drawn_again_byte_for_byte_from_the_directory_alone(run: Run, tmp_path: Path) -> None:
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


def test_names_are_text(run: Run, html: str, elements: list[tuple[str, dict[str, str]]]) -> None:
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base"}
    assert not [a for _, a in elements if any(name.startswith("on") for name in a)]
    assert "&lt;script&gt;alert(1)&lt;!--" in html
    assert "<bdi>new\N{SYMBOL FOR LINE FEED}line</bdi>" in html
    assert "&lt;img src=x onerror=alert(2)&gt;\N{SYMBOL FOR LINE FEED}\\xff" in html
    assert "fox \N{FOX FACE}" in html
    assert r"<bdi>\u202egpj.exe</bdi>" in html
    hebrew = "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} (1"
    before = {html[match.start() - 1] for match in re.finditer(re.escape(hebrew), html)}
    assert {">"} < before <= {">", "/", "\N{FIRST STRONG ISOLATE}"}  # name, path, attribute
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in html
    assert run.summary["rejected"] == 1
    assert "broken &lt;b&gt;.png" in html


def test_nothing_on_the_page_points_outside(
    html: str, elements: list[tuple[str, dict[str, str]]]
) -> None:
    fetched = [
        a[name] for _, a in elements for name in a if name.rpartition(":")[2] in URL_ATTRIBUTES
    ]
    fetched += re.findall(r"url\(\s*['\"]?([^)'\"]*)", html)
    strange = [link for link in fetched if not link.startswith(("#", "data:image/webp;base64,"))]
    assert fetched
    assert strange == []
    assert "@import" not in html
    names = [a["id"] for _, a in elements if "id" in a]
    assert len(names) == len(set(names))
    targets = {a["href"][1:] for _, a in elements if a.get("href", "").startswith("#")}
    assert targets | set(re.findall(r"url\(#([^)]*)\)", html)) <= set(names)


def test_it_can_be_read_aloud(elements: list[tuple[str, dict[str, str]]]) -> None:
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(len(a["aria-label"]) > 20 for tag, a in elements if tag == "svg")
    assert all(a["alt"] for tag, a in elements if tag == "img")
    assert all(a.get("aria-label") for tag, a in elements if "tabindex" in a and tag != "pre")
    assert ("html", {"lang": "en"}) in elements


def test_each_cell_of_the_matrix_opens_its_images(
    run: Run, elements: list[tuple[str, dict[str, str]]]
) -> None:
    judged = run.judgement.test
    assert judged is not None
    cells = {(int(t), int(p)) for t, p in zip(judged.y_true, judged.y_pred, strict=True)}
    panels = {a["id"] for tag, a in elements if a.get("class") == "cell"}
    assert panels == {f"cell-{truth}-{label}" for truth, label in cells}
    opened = {a["href"][1:] for tag, a in elements if a.get("href", "").startswith("#cell-")}
    assert opened == panels


def test_a_run_without_pictures_has_a_page(run: Run, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(run.directory.path, bare, ignore=shutil.ignore_patterns("media"))
    html = veduta.report(bare).read_text(encoding="utf-8")
    assert "<img" not in html
    assert "No pictures of these were kept." in html


def test_what_is_damaged_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"summary\.json cannot be read"):
        veduta.report(tmp_path)
    torn = tmp_path / "torn"
    shutil.copytree(run.directory.path, torn)
    index = torn / "media" / "index.json"
    content = json.loads(index.read_text())
    next(iter(torn.glob("media/*.png"))).unlink()
    with pytest.raises(InputError, match=r"media/\d+\.png: No such file"):
        veduta.report(torn)
    content["gallery"][0]["picture"] = "../summary.json"  # no name leads outside
    index.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"media/summary\.json: No such file"):
        veduta.report(torn)
    index.write_text("{")
    with pytest.raises(InputError, match="restore the folder, or remove it"):
        veduta.report(torn)
    other = tmp_path / "other"
    other.mkdir()
    (other / "summary.json").write_text('{"command": "predict"}')
    with pytest.raises(InputError, match="is of `veduta predict`"):
        veduta.report(other)


def test_an_evaluation_has_a_page_that_is_drawn_again(run: Run, tmp_path: Path) -> None:
    data = paint_hostile(tmp_path / "data", count=3)
    found = veduta.evaluate(run.directory.path, data, out=tmp_path / "out", console=QUIET)
    assert found.directory is not None
    first = (found.directory / "report.html").read_bytes()
    shutil.rmtree(data)
    assert veduta.report(found.directory).read_bytes() == first
    html = first.decode()
    assert f"{100 * found.accuracy.accuracy:.1f}%" in html
    assert all(f">{escape(visible(name.decode()))}<" in html for name in CLASSES)
    assert "<script" not in html
    assert "were used to train" in html


def test_one_trial_has_no_grid(colours: Path, tmp_path: Path) -> None:
    found = veduta.train(colours, lr=1e-2, out=tmp_path / "run", **SMALL)
    html = found.directory.report.read_text(encoding="utf-8")
    assert 'id="leaderboard"' not in html
    assert 'id="grid"' not in html
    assert 'id="curves"' in html
    assert "One trial was trained" in html


@pytest.mark.slow
def test_a_browser_asks_for_nothing_and_a_cell_shows(html: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert record_requests(html, tmp_path / "plain", expected="What the model is worth") == set()
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
