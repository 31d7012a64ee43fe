"""`veduta evaluate`: how the model of a run does on labelled images."""

from pathlib import Path
from typing import Annotated

import typer

from veduta.cli.options import Json, Out

MOST_CLASSES = 20  # whose confusion matrix a terminal can show
FEW = 5


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    data: Annotated[Path, typer.Argument(help="Labelled images; a test/ split is preferred.")],
    *,
    max_error: Annotated[
        float, typer.Option(help="What abstaining is judged for: the error that shall be left.")
    ] = 0.02,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Every figure with its interval, figures a class, confusion, calibration, mistakes.

    Example: veduta evaluate runs/search-1 photos/test
    """
    from veduta import api
    from veduta.cli.printing import (
        PARTLY,
        figures_table,
        print_json,
        say_calibration,
        with_intervals,
    )
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    found = api.evaluate(run, data, max_error=max_error, out=out, console=console)
    console.table(with_intervals(found.per_class), "by class, with 95 % intervals")
    if len(found.confusion) <= MOST_CLASSES:
        table = found.confusion.reset_index(names="truth", allow_duplicates=True)
        console.table(table, "rows: the truth; columns: predicted")
    else:
        console.say(f"confusion   {found.directory}/confusion.csv")
    console.table(figures_table(found.figures), "over all classes")
    if len(found.mistakes):
        console.table(found.mistakes.head(FEW), "the most confident mistakes")
    how = ", each with its mirror" if found.tta == "flip" else ""
    console.say(f"accuracy    {found.accuracy}{how}")
    say_calibration(found.summary, console)
    if found.seen:
        console.warn(f"{found.seen} of these images were used to train or to choose this model")
    if found.opened_before:
        console.say(f"opened      before on this machine: {found.opened_before}")
    console.say(f"evaluation  {found.directory}\nreport      {found.directory}/report.html")
    if as_json:
        print_json(found.summary)
    if found.rejected:
        console.warn(
            f"{len(found.rejected)} files could not be read; {found.directory}/rejected.csv"
        )
        raise typer.Exit(PARTLY)
