"""`veduta report`: draw the report of a finished run again."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Directory of a search, train or evaluate.")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="New file (default: report.html in the directory)."),
    ] = None,
) -> None:
    """Draw report.html again from the files of a run directory.

    Example: veduta report runs/search-1
    """
    from veduta import api
    from veduta.tracking.console import Console

    Console().say(f"report      {api.report(run, out=out)}")
