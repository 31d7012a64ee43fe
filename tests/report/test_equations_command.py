"""`veduta equations`: the table, one number, the errata, the page, and what a failure does."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from veduta.cli.equations import equations
from veduta.errors import InputError
from veduta.foundations import activations
from veduta.foundations.arrays import Array
from veduta.foundations.equations import INDEX
from veduta.foundations.errata import ERRATA, Erratum, misprints

app = typer.Typer()
app.command()(equations)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_the_table_has_a_row_an_equation() -> None:
    result = run()
    assert result.exit_code == 0
    for equation in INDEX.values():
        assert equation.name in result.output
    assert f"checks of {len(INDEX)} equations pass" in result.output
    assert "FAILS" not in result.output


def test_one_number_shows_everything_about_it() -> None:
    result = run("14")
    assert result.exit_code == 0
    for part in ("section 1.2.2", "\\odot", "w_next", "def hidden_error", "passes"):
        assert part in result.output
    assert run("31").output.count("section 2,") == 2


def test_a_wrong_derivative_exits_1_and_names_the_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: Array) -> Array:
        return activations.sigmoid(x)

    monkeypatch.setattr(activations, "tanh_derivative", wrong)
    result = run()
    assert result.exit_code == 1
    assert "equation 4 fails: derivative against central differences" in result.output
    assert "equation 3 " not in result.output
    assert run("4").exit_code == 1
    assert run("3").exit_code == 0


def test_errata() -> None:
    result = run("--errata")
    assert result.exit_code == 0
    for erratum in ERRATA.values():
        assert erratum.shows.replace("$", "") in result.output


@pytest.mark.parametrize("number", ["4", "21", "37", "38b", "40", "A2", "S1"])
def test_a_corrected_formula_says_that_it_was(number: str) -> None:
    (misprint,) = misprints(number)
    told = f"as printed: {misprint.printed.replace('$', '')}; see the errata"
    assert told in run(number).output.replace("\n", " ")
    assert "as printed" not in run("3").output


def test_an_erratum_that_is_none_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ERRATA, "4", Erratum("Equation 4", "", "", "", lambda: (0.0, 0.0)))
    result = run("--errata")
    assert result.exit_code == 1
    assert "not shown by its number: Equation 4" in result.output


def test_the_page_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "equations.html"
    assert run("--html", str(path)).exit_code == 0
    assert path.read_text().startswith("<!doctype html>")
    again = run("--html", str(path))
    assert isinstance(again.exception, InputError)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["42"], "an equation is a number of A1, 1, 2"),
        (["14", "--errata"], "a number shows one equation"),
        (["--errata", "--html", "page.html"], "the page holds the errata too"),
        (["--html", "missing/page.html"], "there is no missing"),
        (["--html", f"{'a' * 300}.html"], "a page needs a place to be written; File name too long"),
        (["--html", f"{__file__}/page.html"], "test_equations_command.py is a file"),
    ],
)
def test_bad_input(words: list[str], told: str) -> None:
    error = run(*words).exception
    assert isinstance(error, InputError)
    assert error.exit_code == 2
    assert told in str(error)
