"""The equations page: content, no external requests, accessibility, identical bytes."""

import itertools
import re
from importlib import import_module
from pathlib import Path

import pytest
from markupsafe import escape

from tests.support.pages import URL_ATTRIBUTES, ElementParser, browse, record_requests
from tests.support.permissions import without_root_privileges
from veduta.errors import InputError
from veduta.foundations.checks import Outcome
from veduta.foundations.equations import INDEX, run_checks
from veduta.foundations.errata import ERRATA, find_errata
from veduta.reporting.pages import page
from veduta.reporting.pages.equations_page import (
    TITLE,
    render_equations_page,
    render_symbol,
    render_text,
    write_equations_page,
)

DRAWING_COUNT = 11


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[Outcome]]:
    return {number: run_checks(number) for number in INDEX}


@pytest.fixture(scope="module")
def html(outcomes: dict[str, list[Outcome]]) -> str:
    return render_equations_page(outcomes)


@pytest.fixture(scope="module")
def elements(html: str) -> list[tuple[str, dict[str, str]]]:
    return ElementParser(html).elements


def test_page_contains_every_equation_erratum_and_figure(html: str) -> None:
    for number in INDEX:
        assert f'id="equation-{number}"' in html
    assert html.count('class="erratum"') == len(ERRATA)
    assert html.count("As printed: ") == sum(len(find_errata(number)) for number in INDEX) >= 17
    assert not re.search(r"\d[eE][+-]\d\d times", html)
    assert html.count("<figure") == DRAWING_COUNT
    assert "✗" not in html
    assert "all passed" in html


def test_page_references_no_external_resources(
    html: str, elements: list[tuple[str, dict[str, str]]]
) -> None:
    urls = [
        attributes[name]
        for _, attributes in elements
        for name in attributes
        if name.rpartition(":")[2] in URL_ATTRIBUTES
    ]
    urls += re.findall(r"url\(\s*['\"]?([^)'\"]*)", html)
    assert urls
    assert [link for link in urls if not link.startswith(("#", "data:image/png;base64,"))] == []
    assert not {tag for tag, _ in elements} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
    }
    assert "@import" not in html


def test_identifiers_are_unique_and_links_have_targets(
    html: str, elements: list[tuple[str, dict[str, str]]]
) -> None:
    names = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(names) == len(set(names))
    targets = {a["href"][1:] for _, a in elements if a.get("href", "").startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]*)\)", html))
    assert targets <= set(names)


def test_page_is_accessible_to_screen_readers(elements: list[tuple[str, dict[str, str]]]) -> None:
    assert ("html", {"lang": "en"}) in elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    pictures = [attributes for tag, attributes in elements if tag == "svg"]
    assert len(pictures) > DRAWING_COUNT
    assert all(a["role"] == "img" and len(a["aria-label"]) > 20 for a in pictures)
    assert sum(tag == "math" for tag, _ in elements) > len(INDEX)


def test_all_formulas_are_converted_to_mathml(html: str) -> None:
    """The converter leaves unknown TeX commands unchanged."""
    formulas = re.findall(r"<math.*?</math>", html, re.DOTALL)
    assert [formula for formula in formulas if re.search(r"\\|>&<", formula)] == []


def test_rendering_twice_gives_the_same_bytes(
    html: str, outcomes: dict[str, list[Outcome]]
) -> None:
    assert render_equations_page(outcomes) == html


def test_a_failed_check_is_marked(
    outcomes: dict[str, list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in ("draw_network_figures", "draw_image_figures", "draw_training_figures"):
        monkeypatch.setattr(import_module("veduta.reporting.pages.equations_page"), function, list)
    with_failure = outcomes | {"14": [Outcome("delta <b>", 0.5, 1e-6)]}
    failing = render_equations_page(with_failure)
    assert failing.count("✗ FAILS") == 1
    assert "1 failed" in failing
    assert "delta &lt;b&gt;" in failing


def test_symbols_and_texts_are_escaped_and_converted() -> None:
    assert str(render_symbol("any <shape>, that is")) == "any &lt;shape&gt;, that is"
    assert str(render_symbol("W^l, (n, m).")).endswith("</math>, (n, m).")
    assert "<mi>&#x003BC;</mi>" in render_symbol("\\mu, in [0, 1).")
    assert str(render_text("a < $b$")).startswith("a &lt; <math")


def test_an_existing_page_is_never_overwritten(
    tmp_path: Path, outcomes: dict[str, list[Outcome]]
) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(InputError, match="never overwritten"):
        write_equations_page(path, outcomes)
    assert path.read_text() == "mine"
    (tmp_path / "link.html").symlink_to(tmp_path / "nowhere.html")
    with pytest.raises(InputError, match=r"never overwritten; .*link\.html exists"):
        write_equations_page(tmp_path / "link.html", outcomes)
    with pytest.raises(InputError, match=r"missing does not exist: create it"):
        write_equations_page(tmp_path / "missing" / "page.html", outcomes)


def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with (
        without_root_privileges(),
        pytest.raises(InputError, match=r"page\.html: Permission denied"),
    ):
        page.write_page(tmp_path / "page.html", "text")


@pytest.mark.slow
def test_no_horizontal_scrolling_on_a_phone(html: str, tmp_path: Path) -> None:
    """Tested in a frame of 360 pixels, because Chromium windows are at least 500 wide."""
    measured = (
        "onload = () => { const root = document.querySelector('iframe').contentDocument"
        ".documentElement; document.title = `${root.scrollWidth} of ${root.clientWidth}`; }"
    )
    frame = f'<iframe style="width: 360px; height: 640px; border: 0" srcdoc="{escape(html)}">'
    (tmp_path / "frame.html").write_text(f"<script>{measured}</script>{frame}", encoding="utf-8")
    output = browse(tmp_path / "frame.html", "--dump-dom")
    title = re.search(r"<title>(\d+) of (\d+)</title>", output)
    assert title
    assert 300 < int(title[1]) <= int(title[2]) <= 360


@pytest.mark.slow
def test_a_browser_makes_no_requests_for_the_page(html: str, tmp_path: Path) -> None:
    tracked = html.replace("<main>", '<main><img src="http://a.test/x">')
    requests = {}
    for name, text in (("plain", html), ("tracked", tracked)):
        (tmp_path / name).mkdir()
        requests[name] = record_requests(text, tmp_path / name, expected=TITLE)
    assert requests == {"plain": set(), "tracked": {"http://a.test/x"}}
