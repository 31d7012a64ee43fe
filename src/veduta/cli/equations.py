"""`veduta equations`: every equation of the report, checked while you look."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veduta.errors import InputError

if TYPE_CHECKING:
    from veduta.foundations.checks import Outcome
    from veduta.foundations.equations import Equation
    from veduta.tracking.console import Console

FAILED = 1


def equations(
    number: Annotated[
        str | None,
        typer.Argument(
            help="One equation: its number (14, 31a), A1 or A2 for an algorithm, S1 or S2 for a "
            "size formula. Without it, all of them in a table.",
            show_default=False,
        ),
    ] = None,
    *,
    errata: Annotated[
        bool, typer.Option("--errata", help="Where the report errs, and the number that shows it.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write everything, with figures, as one new HTML file.")
    ] = None,
) -> None:
    """The report's equations: formula, function, and checks that run now."""
    from veduta.tracking.console import Console

    if number is not None and (errata or html is not None):
        raise InputError(
            "a number shows one equation; leave out --errata and --html, or the number"
        )
    if errata and html is not None:
        raise InputError("the page holds the errata too; leave out --errata, or --html")
    console = Console()
    if number is not None:
        _one(console, number)
    elif errata:
        _errata(console)
    elif html is not None:
        _page(console, html)
    else:
        _all(console)


def _one(console: "Console", number: str) -> None:
    """Section, formula, symbols, source and checks of one number."""
    import inspect

    from veduta.foundations.equations import find
    from veduta.foundations.errata import misprints

    try:
        found = find(number)
    except ValueError as error:
        raise InputError(str(error)) from error
    outcomes = _run(found)
    for equation in found:
        console.say(f"{equation.title}, section {equation.section}, {equation.name}\n")
        console.say(f"    {equation.tex}\n")
        for erratum in misprints(equation.number):
            console.say(f"    as printed: {erratum.printed.replace('$', '')}; see the errata\n")
        for name, meaning in equation.symbols.items():
            console.say(f"    {name:<12} {meaning}")
        console.say(f"\n{inspect.getsource(equation.function)}")
        for outcome in outcomes[equation.number]:
            console.say(f"{_word(outcome)}  {outcome.claim}: error {outcome.error:.1e}")
        console.say("")
    _finish(outcomes)


def _all(console: "Console") -> None:
    """A row an equation: what computes it, and its largest error."""
    import pandas as pd

    from veduta.foundations.equations import INDEX

    outcomes = _run(list(INDEX.values()))
    rows = []
    for equation in INDEX.values():
        of_this = outcomes[equation.number]
        worst = max(of_this, key=lambda outcome: outcome.error / outcome.limit)
        rows.append(
            {
                "number": equation.number,
                "section": equation.section,
                "function": equation.name,
                "checks": len(of_this),
                "error": f"{worst.error:.1e}",
                "limit": f"{worst.limit:.0e}",
                "outcome": _word(worst),
            }
        )
    console.table(pd.DataFrame(rows), "")
    _finish(outcomes)
    console.say(f"all {sum(map(len, outcomes.values()))} checks of {len(rows)} equations pass")


def _errata(console: "Console") -> None:
    """Each misprint, what holds in its place, and how far each is off."""
    from veduta.foundations.errata import ERRATA
    from veduta.report.numbers import as_written

    for erratum in ERRATA.values():
        printed, corrected = erratum.evidence()
        console.say(f"{erratum.where}")
        console.say(f"    as printed       {erratum.printed.replace('$', '')}")
        console.say(f"    as it should be  {erratum.truth.replace('$', '')}")
        shows = erratum.shows.replace("$", "")
        found = f"{as_written(printed)} against {as_written(corrected)}"
        console.say(f"    shown by         {shows}: {found}\n")
    if wrong := [erratum.where for erratum in ERRATA.values() if not erratum.holds]:
        console.warn(f"not shown by its number: {', '.join(wrong)}")
        raise typer.Exit(FAILED)
    console.say(f"all {len(ERRATA)} fail as printed and hold as corrected")


def _page(console: "Console", path: Path) -> None:
    """The page; what fails is marked there, and named here."""
    from veduta.foundations.equations import INDEX
    from veduta.report.equations_page import write_equations_page

    outcomes = _run(list(INDEX.values()))
    write_equations_page(path, outcomes)
    console.say(f"page  {path}")
    _finish(outcomes)


def _run(equations: list["Equation"]) -> dict[str, list["Outcome"]]:
    """The outcome of every check, by the equation's number."""
    from veduta.foundations.checks import run

    return {equation.number: run(equation.number) for equation in equations}


def _word(outcome: "Outcome") -> str:
    return "passes" if outcome.passed else "FAILS"


def _finish(outcomes: dict[str, list["Outcome"]]) -> None:
    """Name every check that fails, then exit with 1."""
    from veduta.tracking.console import Console

    failed = [
        f"equation {number} fails: {outcome.claim}, error {outcome.error:.1e}, "
        f"at most {outcome.limit:.0e}"
        for number, of_this in outcomes.items()
        for outcome in of_this
        if not outcome.passed
    ]
    for line in failed:
        Console().warn(line)
    if failed:
        raise typer.Exit(FAILED)
