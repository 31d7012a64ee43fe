"""`veduta demo`: a search on the images that scikit-learn contains."""

from pathlib import Path
from typing import Annotated

import typer

from veduta.cli.options import Json


def demo(
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY", help="New directory (default: the next free demo/run-N)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search 12 trials on handwritten digits, which are written to one folder per class."""
    from veduta import api
    from veduta.cli.printing import finish_run
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    finish_run(api.demo(out=out, console=console), console, as_json=as_json)
