"""`veduta report`: the page of a finished run, drawn again from its directory alone."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Directory of a search, train or evaluate.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="A new file instead of the directory's report.html.")
    ] = None,
) -> None:
    """Draw report.html again: no image, no network and no clock is needed, only the directory.

    Example: veduta report runs/search-1
    """
    from veduta import api
    from veduta.tracking.console import Console

    Console().say(f"report      {api.report(run, out=out)}")
