"""Console output: plain lines without a terminal, no markup from names, nothing when quiet."""

import pandas as pd
import pytest

from veduta.tracking.console import Console


def test_a_stage_reports_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with (
        console.stage("reading", "images") as report_outer,
        console.stage("inner", "rows") as report_inner,
    ):
        report_outer(1, 2)
        report_inner(1, 1)
        report_outer(2, 2)
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
    for text in ("[/bad]", ":cat:", "back\\slash ", "two\N{SYMBOL FOR LINE FEED}lines"):
        assert text in out
    assert "[i]" in out
    assert "nan" not in out
    assert "warning: [b]x" in err


def test_no_name_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    console, name = Console(), "\x1b[2J\rgone\N{RIGHT-TO-LEFT OVERRIDE}"
    console.say(f"run {name}\nreport {name}")
    console.warn(f"{name}\nsecond line")
    console.table(pd.DataFrame({name: [name]}), name)
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == [f"{what} ␛[2J␍gone\\u202e" for what in ("run", "report")]
    assert err == "warning: ␛[2J␍gone\\u202e␊second line\n"
    assert not set(out) & set("\x1b\r\N{RIGHT-TO-LEFT OVERRIDE}")


def test_quiet_and_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Console(quiet=True).say("hidden")
    Console(stderr=True).say("for people")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "for people\n"


WINNERS = pd.DataFrame(
    {
        "trial": ["t0123456789", "t9876543210"],
        **{f"setting_{n}": [0.00012345 * 10**n, 0.003] for n in range(6)},
        "best_epoch": [12, 7],
        "validation": ["91.2%", "90.8%"],
        "95 % interval": ["89.9% to 92.6%", "89.4% to 92.0%"],
    }
)


def print_table(table: pd.DataFrame, width: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Print a table on a console of a certain width and return the lines."""
    console = Console()
    console._rich.width = width
    console.table(table, "best of 2")
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_table_that_is_too_wide_continues_below(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = print_table(WINNERS, width, capsys)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for name in WINNERS.columns:
        assert name in text
    for value in WINNERS.to_numpy().ravel():
        cell = f"{value:.4g}" if isinstance(value, float) else str(value)
        assert f" {cell} " in text
    blocks = sum("trial" in line for line in lines)
    assert sum("t9876543210" in line for line in lines) == blocks > 1
    assert text.count("best of 2") == 1


def test_a_table_that_fits_is_printed_in_one_block(capsys: pytest.CaptureFixture[str]) -> None:
    wide = print_table(WINNERS, 200, capsys)
    exact = max(len(line) for line in wide)
    assert print_table(WINNERS, exact, capsys) == wide
    assert len(print_table(WINNERS, exact - 1, capsys)) > len(wide)


def test_a_cell_wider_than_the_terminal_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    path = "holiday/" + "x" * 60 + ".jpg"
    lines = print_table(pd.DataFrame({"path": [path], "label": ["cat"]}), 40, capsys)
    assert max(map(len, lines)) <= 40
    assert sum(line.count("x") for line in lines) == 60
    assert "cat" in "\n".join(lines)
