"""`veduta equations`: list, show and check the equations of the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veduta.errors import InputError

if TYPE_CHECKING:
    from veduta.foundations.checks import Outcome
    from veduta.foundations.equations import Equation
    from veduta.tracking.console import Console

FAILED = 1  # exit code


def equations(
    number: Annotated[
        str | None,
        typer.Argument(
            help="Number of the equation to show (14, 31a), A1 or A2 for an algorithm, S1 or S2 "
            "for a size formula. Without a number, all equations are listed.",
            show_default=False,
        ),
    ] = None,
    *,
    errata: Annotated[
        bool,
        typer.Option(
            "--errata", help="List the errors of the report, with the numbers that prove them."
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(help="Write all equations, errata and figures to a new HTML file."),
    ] = None,
) -> None:
    """Show the formulas and functions of the report's equations, and run their checks."""
    from veduta.tracking.console import Console

    if number is not None and (errata or html is not None):
        option = "--errata" if errata else "--html"
        raise InputError(
            f"a number cannot be combined with --errata or --html; got {number} and {option}: "
            "leave out one of them"
        )
    if errata and html is not None:
        raise InputError(
            f"--errata cannot be combined with --html; got both, with {html}: leave out --errata, "
            "the page includes the errata"
        )
    console = Console()
    if number is not None:
        _show_equation(console, number)
    elif errata:
        _list_errata(console)
    elif html is not None:
        _write_page(console, html)
    else:
        _list_equations(console)


def _show_equation(console: "Console", number: str) -> None:
    """Print section, formula, symbols, source and checks of the equations with this number."""
    import inspect

    from veduta.foundations.equations import find_equations
    from veduta.foundations.errata import find_errata

    try:
        selected = find_equations(number)
    except ValueError as error:
        raise InputError(f"{error}: give one of these numbers") from error
    outcomes = _run_checks(selected)
    for equation in selected:
        console.say(f"{equation.title}, section {equation.section}, {equation.name}\n")
        console.say(f"    {equation.tex}\n")
        for erratum in find_errata(equation.number):
            console.say(f"    as printed: {erratum.printed.replace('$', '')}; see the errata\n")
        for name, meaning in equation.symbols.items():
            console.say(f"    {name:<12} {meaning}")
        console.say(f"\n{inspect.getsource(equation.function)}")
        for outcome in outcomes[equation.number]:
            console.say(f"{_format_result(outcome)}  {outcome.claim}: error {outcome.error:.1e}")
        console.say("")
    _exit_if_failed(outcomes)


def _list_equations(console: "Console") -> None:
    """Print a table with one row per equation: its function and its largest error."""
    import pandas as pd

    from veduta.foundations.equations import INDEX

    outcomes = _run_checks(list(INDEX.values()))
    rows = []
    for equation in INDEX.values():
        checks = outcomes[equation.number]
        worst = max(checks, key=lambda outcome: outcome.error / outcome.limit)
        rows.append(
            {
                "number": equation.number,
                "section": equation.section,
                "function": equation.name,
                "checks": len(checks),
                "error": f"{worst.error:.1e}",
                "limit": f"{worst.limit:.0e}",
                "outcome": _format_result(worst),
            }
        )
    console.table(pd.DataFrame(rows), "")
    _exit_if_failed(outcomes)
    console.say(f"all {sum(map(len, outcomes.values()))} checks of {len(rows)} equations pass")


def _list_errata(console: "Console") -> None:
    """Print the printed and the corrected form of each erratum, with the error of each form."""
    from veduta.foundations.errata import ERRATA
    from veduta.reporting.figures.plots import format_number

    for erratum in ERRATA.values():
        printed, corrected = erratum.evidence()
        errors = f"{format_number(printed)} as printed, {format_number(corrected)} as corrected"
        console.say(f"{erratum.location}")
        console.say(f"    as printed  {erratum.printed.replace('$', '')}")
        console.say(f"    correct     {erratum.corrected.replace('$', '')}")
        console.say(f"    measured    {erratum.measured.replace('$', '')}: {errors}\n")
    unconfirmed = [erratum.location for erratum in ERRATA.values() if not erratum.is_confirmed]
    if unconfirmed:
        console.warn(f"not confirmed by the measured errors: {', '.join(unconfirmed)}")
        raise typer.Exit(FAILED)
    console.say(f"all {len(ERRATA)} errata are confirmed by the measured errors")


def _write_page(console: "Console", path: Path) -> None:
    """Write the HTML page; mark failed checks on it and print them."""
    from veduta.foundations.equations import INDEX
    from veduta.reporting.pages.equations_page import write_equations_page

    outcomes = _run_checks(list(INDEX.values()))
    write_equations_page(path, outcomes)
    console.say(f"page  {path}")
    _exit_if_failed(outcomes)


def _run_checks(selected: Sequence["Equation"]) -> dict[str, list["Outcome"]]:
    """Run all checks of the selected equations; return the outcomes by equation number."""
    from veduta.foundations.equations import run_checks

    return {equation.number: run_checks(equation.number) for equation in selected}


def _format_result(outcome: "Outcome") -> str:
    return "passes" if outcome.passed else "FAILS"


def _exit_if_failed(outcomes: dict[str, list["Outcome"]]) -> None:
    """Print every failed check, then exit with code 1 if there is one."""
    from veduta.tracking.console import Console

    failed = [
        f"equation {number} fails: {outcome.claim}, error {outcome.error:.1e}, "
        f"limit {outcome.limit:.0e}"
        for number, checks in outcomes.items()
        for outcome in checks
        if not outcome.passed
    ]
    for line in failed:
        Console().warn(line)
    if failed:
        raise typer.Exit(FAILED)
