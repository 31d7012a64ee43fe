"""What is printed: plain lines without a terminal, no markup from names, nothing when quiet."""

import pandas as pd
import pytest

from veduta.tracking.console import Console


def test_a_stage_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with console.stage("reading", "images") as advance, console.stage("inner", "rows") as other:
        advance(1, 2)
        other(1, 1)
        advance(2, 2)
    printed = capsys.readouterr().out
    assert "inner: 1 rows" in printed
    assert "reading: 2 images in" in printed


def test_names_are_text_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.say("[red]a[/red]")
    console.warn("[b]x")
    names = ["[/bad]", ":cat:", "back\\slash", "two\nlines"]
    console.table(pd.DataFrame({"[i]": names, "n": float("nan"), "m": None}), "[t]")
    out, err = capsys.readouterr()
    assert "[red]a[/red]" in out
    for shown in ("[/bad]", ":cat:", "back\\slash ", "two\\nlines"):
        assert shown in out
    assert "[i]" in out
    assert "nan" not in out
    assert "warning: [b]x" in err


def test_quiet_and_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Console(quiet=True).say("hidden")
    Console(stderr=True).say("for people")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "for people\n"
