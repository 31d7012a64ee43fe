"""Names and tables as HTML: text stays text, and stays where it is."""

import pytest

from veduta.tracking.html import facts, isolated, named, ranged, table, visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain 7", "plain 7"),
        ("a\nb\tc\x7f", "a\N{SYMBOL FOR LINE FEED}b\N{SYMBOL FOR HORIZONTAL TABULATION}c␡"),
        ("caf\udce9", r"caf\xe9"),  # a byte that is no UTF-8, as Python hands it on
        ("half \ud83d", r"half \ud83d"),  # half a pair that never was a byte
        ("\u202egpj.exe", r"\u202egpj.exe"),  # would be read as exe.jpg
        ("\N{HEBREW LETTER ALEF}", "\N{HEBREW LETTER ALEF}"),
        ("\N{FOX FACE}", "\N{FOX FACE}"),
    ],
)
def test_a_name_is_seen_as_it_is(name: str, shown: str) -> None:
    assert visible(name) == shown
    assert named(name).unescape() == f"<bdi>{shown}</bdi>"
    assert isolated(name)[1:-1] == shown
    shown.encode("utf-8")


def test_markup_in_names_is_text() -> None:
    evil = "<script>alert('1')</script>"
    for found in (
        table([evil], [[evil]], caption=evil),
        facts(evil, {evil: evil, "b": named(evil)}),
    ):
        assert "<script" not in found
        assert found.count("&lt;script&gt;") >= 3
    assert str(table(["a"], [[1]])) == (
        '<table><thead><tr><th scope="col"><bdi>a</bdi></th></tr></thead>'
        "<tbody><tr><td><bdi>1</bdi></td></tr></tbody></table>"
    )
    assert ranged({"accuracy": 1.0, "low": 0.5, "high": 1.0, "images": 3}).startswith("100.0%")
