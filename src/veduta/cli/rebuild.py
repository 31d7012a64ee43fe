"""`veduta rebuild`: the derived files of a run, made again from its journal."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from veduta.experiment.recovery.rebuild import Rebuilt
    from veduta.tracking.console import Console

FEW = 8  # names that are printed


def rebuild(
    run: Annotated[Path, typer.Argument(help="Directory of a search or a training.")],
    *,
    repair: Annotated[
        Path | None,
        typer.Option(
            metavar="COPY",
            help="A new directory, for a copy of a run whose journal is damaged. The copy ends "
            "before the damaged line and can be resumed; the run itself is not changed.",
        ),
    ] = None,
) -> None:
    """Make tables, curves, summary and report of a run again, from its journal alone.

    Files that differ from what the journal says are replaced.

    Example: veduta rebuild runs/search-1

    Example: veduta rebuild runs/search-1 --repair runs/copy
    """
    from veduta import api
    from veduta.cli.printing import PARTLY
    from veduta.tracking.console import Console

    console = Console()
    found = api.rebuild(run, repair=repair)
    say(found, console)
    if found.missing:
        raise typer.Exit(PARTLY)


def say(found: "Rebuilt", console: "Console") -> None:
    """What became of the files of a run."""
    from veduta.experiment.messages import way_on

    for warning in found.warnings:
        console.warn(warning)
    made, same = f"{len(found.made)} files", f"{found.same} were there as the journal says"
    console.say(f"made        {made}{_named(found.made)}; {same}")
    if found.replaced:
        console.say(f"replaced    {len(found.replaced)} files{_named(found.replaced)}")
    if found.curves:
        console.say(f"curves      of {found.curves} trials, written again for TensorBoard")
    run, on = found.directory.path, way_on(found.command, found.directory.path)
    if found.missing:
        console.warn(
            f"not in the journal: {', '.join(found.missing)}; resumed, the run makes them from its "
            f"images: {on}"
        )
    if not found.ended:
        console.say(f"unfinished  it goes on with {on}")
    console.say(f"run         {run}")


def _named(names: Sequence[str]) -> str:
    """The first few names.

    >>> _named(["a", "b"]), _named([])
    (': a, b', '')
    """
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f": {', '.join(names[:FEW])}{more}" if names else ""
