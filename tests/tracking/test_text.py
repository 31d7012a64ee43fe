"""Names and tables as text and HTML: markup is escaped and no character moves another."""

import pytest

from veduta.runs.summary import CorrectedAccuracy, Estimate
from veduta.tracking.text import (
    build_html_facts,
    build_html_table,
    format_estimate,
    format_name,
    isolate_direction,
    make_visible,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain 7", "plain 7"),
        ("a\nb\tc\x7f", "a\N{SYMBOL FOR LINE FEED}b\N{SYMBOL FOR HORIZONTAL TABULATION}c␡"),
        ("caf\udce9", r"caf\xe9"),  # a byte that is not UTF-8
        ("half \ud83d", r"half \ud83d"),  # a lone surrogate
        ("\u202egpj.exe", r"\u202egpj.exe"),  # would be displayed as exe.jpg
        ("\N{HEBREW LETTER ALEF}", "\N{HEBREW LETTER ALEF}"),
        ("\N{FOX FACE}", "\N{FOX FACE}"),
    ],
)
def test_every_character_of_a_name_is_visible(name: str, expected: str) -> None:
    assert make_visible(name) == expected
    assert format_name(name).unescape() == f"<bdi>{expected}</bdi>"
    assert isolate_direction(name)[1:-1] == expected
    expected.encode("utf-8")


def test_markup_in_names_is_escaped() -> None:
    markup = "<script>alert('1')</script>"
    for html in (
        build_html_table([markup], [[markup]], caption=markup),
        build_html_facts(markup, {markup: markup, "b": format_name(markup)}),
    ):
        assert "<script" not in html
        assert html.count("&lt;script&gt;") >= 3
    assert str(build_html_table(["a"], [[1]])) == (
        '<table><thead><tr><th scope="col"><bdi>a</bdi></th></tr></thead>'
        "<tbody><tr><td><bdi>1</bdi></td></tr></tbody></table>"
    )


def test_estimates_are_in_percent() -> None:
    estimate = Estimate(value=1.0, low=0.5, high=1.0, images=1234)
    text = format_estimate(estimate)
    assert all(part in text for part in ("100.0%", "95 % interval", "50.0%", "1,234 images"))
    corrected = CorrectedAccuracy(value=0.25, low=0.2, high=0.3, optimism=0.01)
    assert "25.0%" in format_estimate(corrected)
    assert "images" not in format_estimate(corrected)
