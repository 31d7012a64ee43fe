"""`veduta inspect`: what is wrong with a folder of images, before anything is trained on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veduta.cli.options import Out

if TYPE_CHECKING:
    from veduta.data.checks.findings import Finding
    from veduta.diagnostics.inspection import Inspected

FEW = 3  # findings of a problem that are named, and files of a finding


def inspect(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Folder of images (class folders, or train/ test/), or a CSV file."
        ),
    ],
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 where anything is found that weighs.")
    ] = False,
    out: Out = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print inspection.json last on standard output, nothing else."),
    ] = False,
) -> None:
    """Look at every file: what cannot be read, duplicates, leaks, wrong labels, odd images.

    Nothing is changed. Example: veduta inspect photos --strict
    """
    from veduta import api
    from veduta.cli.printing import PARTLY, print_json
    from veduta.diagnostics.inspection import PAGE
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    found = api.inspect(data, out=out, console=console)
    inspection = found.inspection
    if len(found.problems):
        shown = found.problems.assign(weighs=["yes" if w else "" for w in found.problems["weighs"]])
        console.table(shown, "what was found, what weighs most first")
    for line in named(found):
        console.say(line)
    weigh, notes = len(inspection.weighty), len(inspection.findings) - len(inspection.weighty)
    console.say(
        f"images      {len(inspection.images):,} of {len(inspection.folder.samples):,} files can "
        f"be read, in {len(inspection.folder.classes):,} classes"
    )
    console.say(f"found       {weigh:,} findings that weigh, {notes:,} notes")
    console.say(f"inspection  {found.directory}\npage        {found.directory / PAGE}")
    if as_json:
        print_json(found.summary)
    if not inspection.images:
        raise typer.Exit(1)
    if strict and weigh:
        console.warn(f"{weigh:,} findings in the data weigh, and --strict was given")
        raise typer.Exit(PARTLY)


def named(found: "Inspected") -> Iterator[str]:
    """The first few findings of each problem, and how many are not named."""
    for problem, count in found.inspection.problems.items():
        same = [one for one in found.inspection.findings if one.problem == problem]
        yield f"{problem}: {count:,}"
        for finding in same[:FEW]:
            yield f"  {_about(finding)}"
        if len(same) > FEW:
            yield f"  and {len(same) - FEW:,} more, in inspection.json"


def _about(finding: "Finding") -> str:
    """A finding in one line: its first files, and what is said of them."""
    names = [sample.name for sample in finding.samples[:FEW]]
    more = len(finding.samples) - len(names)
    told = f"{', '.join(names)}{f' and {more:,} more' if more else ''}"
    return f"{told}: {finding.detail}" if names else finding.detail
