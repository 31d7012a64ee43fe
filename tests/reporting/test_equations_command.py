"""`veduta equations`: the table, one equation, the errata, the page, and failing checks."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from veduta.cli.equations import equations
from veduta.errors import InputError
from veduta.foundations import activations
from veduta.foundations.arrays import Array
from veduta.foundations.equations import INDEX
from veduta.foundations.errata import ERRATA, Erratum, find_errata

app = typer.Typer()
app.command()(equations)


def run_command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_the_table_has_one_row_per_equation() -> None:
    result = run_command()
    assert result.exit_code == 0
    for equation in INDEX.values():
        assert equation.name in result.output
    assert f"checks of {len(INDEX)} equations pass" in result.output
    assert "FAILS" not in result.output


def test_a_number_shows_section_formula_symbols_source_and_checks() -> None:
    result = run_command("14")
    assert result.exit_code == 0
    for part in ("section 1.2.2", "\\odot", "w_next", "def hidden_error", "passes"):
        assert part in result.output
    assert run_command("31").output.count("section 2,") == 2


def test_a_failing_check_exits_with_1_and_names_the_equation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(x: Array) -> Array:
        return activations.sigmoid(x)

    monkeypatch.setattr(activations, "tanh_derivative", wrong)
    result = run_command()
    assert result.exit_code == 1
    assert "equation 4 fails: derivative against central differences" in result.output
    assert "equation 3 " not in result.output
    assert run_command("4").exit_code == 1
    assert run_command("3").exit_code == 0


def test_errata_lists_all_measurements() -> None:
    result = run_command("--errata")
    assert result.exit_code == 0
    for erratum in ERRATA.values():
        assert erratum.measured.replace("$", "") in result.output


@pytest.mark.parametrize("number", ["4", "21", "37", "38b", "40", "A2", "S1"])
def test_a_corrected_equation_shows_its_printed_form(number: str) -> None:
    (misprint,) = find_errata(number)
    expected = f"as printed: {misprint.printed.replace('$', '')}; see the errata"
    assert expected in run_command(number).output.replace("\n", " ")
    assert "as printed" not in run_command("3").output


def test_an_unconfirmed_erratum_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ERRATA, "4", Erratum("Equation 4", "", "", "", lambda: (0.0, 0.0)))
    result = run_command("--errata")
    assert result.exit_code == 1
    assert "not confirmed by the measured errors: Equation 4" in result.output


def test_the_page_is_written_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "equations.html"
    assert run_command("--html", str(path)).exit_code == 0
    assert path.read_text().startswith("<!doctype html>")
    again = run_command("--html", str(path))
    assert isinstance(again.exception, InputError)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["42"], "must be one of A1, 1, 2"),
        (["14", "--errata"], "got 14 and --errata"),
        (["--errata", "--html", "page.html"], "got both, with page.html"),
        (["--html", "missing/page.html"], "missing does not exist"),
        (["--html", f"{'a' * 300}.html"], "aaa.html: File name too long"),
        (["--html", f"{__file__}/page.html"], "test_equations_command.py is a file"),
    ],
)
def test_invalid_arguments_are_refused(words: list[str], part: str) -> None:
    error = run_command(*words).exception
    assert isinstance(error, InputError)
    assert error.exit_code == 2
    assert part in str(error)
