"""`--preview`: what a run would train on, drawn instead of run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from veduta.errors import InputError
from veduta.tracking.console import Console


def show(
    data: Path | None,
    given: Mapping[str, Any],
    console: Console,
    *,
    as_json: bool,
    settings: Mapping[str, Any],
) -> None:
    """Draw the preview, and say where it is.

    Args:
        data: folder of images, or CSV file.
        given: what else the command took: `out`, `config`, `resume`, perhaps more of `api.preview`.
        console: says it.
        as_json: print the paths as JSON, last on standard output.
        settings: of the run, as they were given.

    Raises:
        InputError: a run that goes on has no preview, or something given is wrong.
    """
    from veduta import api
    from veduta.cli.printing import print_json

    rest = dict(given)
    if rest.pop("resume") or data is None:
        raise InputError(
            "a preview shows what a new run would train on, and needs its images, as in "
            "veduta train photos --preview; leave --resume out"
        )
    paths = api.preview(data, **rest, console=console, **settings)
    for path in paths:
        console.say(f"preview     {path}")
    if as_json:
        print_json({"preview": [str(path) for path in paths]})
