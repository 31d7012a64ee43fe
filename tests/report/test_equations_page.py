"""The page of equations: nothing leaves it, every figure speaks, the same bytes every time."""

import itertools
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
from markupsafe import escape

from tests.faults.rights import those_of_a_user
from veduta.errors import InputError
from veduta.foundations.checks import Outcome, run
from veduta.foundations.equations import INDEX
from veduta.foundations.errata import ERRATA, misprints
from veduta.report import page
from veduta.report.equations_page import equations_page, mixed, symbol, write_equations_page

BROWSERS_OWN = '"initiator":"not an origin"'  # what it asks for itself, whatever the page
FETCHING = {"src", "srcset", "href", "data", "action", "poster", "background", "formaction"}
DRAWINGS = 11


class Reader(HTMLParser):
    """Every element with its attributes, and the headings in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[Outcome]]:
    return {number: run(number) for number in INDEX}


@pytest.fixture(scope="module")
def html(outcomes: dict[str, list[Outcome]]) -> str:
    return equations_page(outcomes)


@pytest.fixture(scope="module")
def elements(html: str) -> list[tuple[str, dict[str, str]]]:
    return Reader(html).elements


def test_every_equation_erratum_and_figure_is_there(html: str) -> None:
    for number in INDEX:
        assert f'id="equation-{number}"' in html
    assert html.count('class="erratum"') == len(ERRATA)
    assert html.count("As printed: ") == sum(len(misprints(number)) for number in INDEX) >= 17
    assert not re.search(r"\d[eE][+-]\d\d times", html)
    assert html.count("<figure") == DRAWINGS
    assert "✗" not in html
    assert "all passed" in html


def test_nothing_on_the_page_points_outside(
    html: str, elements: list[tuple[str, dict[str, str]]]
) -> None:
    fetched = [
        attributes[name]
        for _, attributes in elements
        for name in attributes
        if name.rpartition(":")[2] in FETCHING
    ]
    fetched += re.findall(r"url\(\s*['\"]?([^)'\"]*)", html)
    assert fetched
    assert [link for link in fetched if not link.startswith(("#", "data:image/png;base64,"))] == []
    assert not {tag for tag, _ in elements} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
    }
    assert "@import" not in html


def test_identifiers_are_unique_and_links_arrive(
    html: str, elements: list[tuple[str, dict[str, str]]]
) -> None:
    names = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(names) == len(set(names))
    targets = {a["href"][1:] for _, a in elements if a.get("href", "").startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]*)\)", html))
    assert targets <= set(names)


def test_it_can_be_read_aloud(elements: list[tuple[str, dict[str, str]]]) -> None:
    assert ("html", {"lang": "en"}) in elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    pictures = [attributes for tag, attributes in elements if tag == "svg"]
    assert len(pictures) > DRAWINGS
    assert all(a["role"] == "img" and len(a["aria-label"]) > 20 for a in pictures)
    assert sum(tag == "math" for tag, _ in elements) > len(INDEX)


def test_all_tex_becomes_mathml(html: str) -> None:
    """What the converter does not know it leaves as it was."""
    formulas = re.findall(r"<math.*?</math>", html, re.DOTALL)
    assert [formula for formula in formulas if re.search(r"\\|>&<", formula)] == []


def test_the_same_bytes_every_time(html: str, outcomes: dict[str, list[Outcome]]) -> None:
    assert equations_page(outcomes) == html


def test_a_failing_check_is_marked(
    outcomes: dict[str, list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for drawings in ("dense_drawings", "image_drawings", "training_drawings"):
        monkeypatch.setattr(import_module("veduta.report.equations_page"), drawings, list)
    wrong = outcomes | {"14": [Outcome("delta <b>", 0.5, 1e-6)]}
    failing = equations_page(wrong)
    assert failing.count("✗ FAILS") == 1
    assert "1 failed" in failing
    assert "delta &lt;b&gt;" in failing


def test_symbols_and_words() -> None:
    assert str(symbol("any <shape>, that is")) == "any &lt;shape&gt;, that is"
    assert str(symbol("W^l, (n, m).")).endswith("</math>, (n, m).")
    assert "<mi>&#x003BC;</mi>" in symbol("\\mu, in [0, 1).")
    assert str(mixed("a < $b$")).startswith("a &lt; <math")


def test_a_page_is_never_overwritten(tmp_path: Path, outcomes: dict[str, list[Outcome]]) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(InputError, match="never overwritten"):
        write_equations_page(path, outcomes)
    assert path.read_text() == "mine"
    (tmp_path / "link.html").symlink_to(tmp_path / "nowhere.html")
    with pytest.raises(InputError, match=r"never overwritten; .*link\.html exists"):
        write_equations_page(tmp_path / "link.html", outcomes)
    with pytest.raises(InputError, match=r"there is no .*missing: create it"):
        write_equations_page(tmp_path / "missing" / "page.html", outcomes)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with those_of_a_user(), pytest.raises(InputError, match=r"page\.html: Permission denied"):
        page.write(tmp_path / "page.html", "text")


def browse(page_file: Path, *options: str) -> str:
    """What headless Chromium says of a page, without any network."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--disable-features=NetworkTimeServiceQuerying"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND"]  # nothing leaves this machine
    command += [f"--user-data-dir={page_file.parent / 'profile'}", *options, page_file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def requests_of(html: str, folder: Path, *, told: str = "Every equation runs") -> set[str]:
    """What a browser asks for on behalf of this page, by the browser's own network log."""
    shown, log = folder / "shown.html", folder / "net.json"
    shown.write_text(html, encoding="utf-8")
    output = browse(shown, "--dump-dom", f"--log-net-log={log}")
    assert told in output
    events = [line for line in log.read_text(errors="replace").splitlines() if '"url":' in line]
    assert events, "the network log is empty"
    ours = [line for line in events if '"initiator":' in line and BROWSERS_OWN not in line]
    return {url for line in ours for url in re.findall(r'"url":"([^"]*)"', line)}


@pytest.mark.slow
def test_nothing_scrolls_sideways_on_a_telephone(html: str, tmp_path: Path) -> None:
    """In a frame of 360 pixels: a window of headless Chromium is never narrower than 500."""
    measured = (
        "onload = () => { const root = document.querySelector('iframe').contentDocument"
        ".documentElement; document.title = `${root.scrollWidth} of ${root.clientWidth}`; }"
    )
    frame = f'<iframe style="width: 360px; height: 640px; border: 0" srcdoc="{escape(html)}">'
    (tmp_path / "shown.html").write_text(f"<script>{measured}</script>{frame}", encoding="utf-8")
    output = browse(tmp_path / "shown.html", "--dump-dom")
    title = re.search(r"<title>(\d+) of (\d+)</title>", output)
    assert title
    assert 300 < int(title[1]) <= int(title[2]) <= 360


@pytest.mark.slow
def test_a_browser_asks_for_nothing_else(html: str, tmp_path: Path) -> None:
    tracked = html.replace("<main>", '<main><img src="http://a.test/x">')
    asked = {}
    for name, text in (("plain", html), ("tracked", tracked)):
        (tmp_path / name).mkdir()
        asked[name] = requests_of(text, tmp_path / name)
    assert asked == {"plain": set(), "tracked": {"http://a.test/x"}}
