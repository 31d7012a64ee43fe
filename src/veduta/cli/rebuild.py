"""`veduta rebuild`: write the derived files of a run again from its journal."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veduta.cli.options import RunDirectory

if TYPE_CHECKING:
    from veduta.experiment.recovery.rebuild import RebuildResult
    from veduta.tracking.console import Console

MAX_NAMES = 8  # of printed files


def rebuild(
    run: RunDirectory,
    *,
    repair: Annotated[
        Path | None,
        typer.Option(
            metavar="COPY",
            help="New directory for a copy of a run whose journal is damaged. The copy ends "
            "before the damaged line and can be resumed; the run itself is not changed.",
        ),
    ] = None,
) -> None:
    """Rebuild the tables, curves, summary and report of a run from its journal alone.

    Files that disagree with the journal are replaced.

    Example: veduta rebuild runs/search-1

    Example: veduta rebuild runs/search-1 --repair runs/copy
    """
    from veduta import api
    from veduta.cli.printing import PARTLY_DONE
    from veduta.tracking.console import Console

    console = Console()
    result = api.rebuild(run, repair=repair)
    print_rebuild_result(result, console)
    if result.missing:
        raise typer.Exit(PARTLY_DONE)


def print_rebuild_result(result: "RebuildResult", console: "Console") -> None:
    """Print which files were written again and which are missing."""
    from veduta.runs.directory import format_resume_command

    for warning in result.warnings:
        console.warn(warning)
    console.say(
        f"created     {len(result.created)} files{_format_names(result.created)}; "
        f"{result.unchanged} agreed with the journal"
    )
    if result.replaced:
        console.say(f"replaced    {len(result.replaced)} files{_format_names(result.replaced)}")
    if result.curves:
        console.say(f"curves      of {result.curves} trials, written again for TensorBoard")
    path = result.directory.path
    command = format_resume_command(result.command, path)
    if result.missing:
        console.warn(
            f"not in the journal: {', '.join(result.missing)}; a resumed run makes them from its "
            f"images: {command}"
        )
    if not result.finished:
        console.say(f"unfinished  resume with: {command}")
    console.say(f"run         {path}")


def _format_names(names: Sequence[str]) -> str:
    """Return the first names after a colon.

    >>> _format_names(["a", "b"]), _format_names([])
    (': a, b', '')
    """
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f": {', '.join(names[:MAX_NAMES])}{more}" if names else ""
