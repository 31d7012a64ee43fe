"""`veduta compare`: compare two runs on the same test images."""

from pathlib import Path
from typing import Annotated

import typer

from veduta.cli.options import Json

MAX_ROWS = 12


def compare(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="Run directory.")],
    second: Annotated[
        Path, typer.Argument(metavar="SECOND", help="Run directory with the same test images.")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="New directory for summary.json and changed.csv."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two runs on the same test images and test whether they differ significantly.

    Example: veduta compare runs/search-1 runs/search-2
    """
    from veduta import api
    from veduta.cli.printing import print_json
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    comparison = api.compare(first, second, out=out)
    agreement, changed = comparison.agreement, comparison.changed
    images = comparison.accuracies[0].images
    console.say(f"first       {first}\nsecond      {second}")
    console.table(comparison.table, f"on the same {images:,} test images, with 95 % intervals")
    if len(changed):
        rest = f", the first {MAX_ROWS} of {len(changed)}" if len(changed) > MAX_ROWS else ""
        console.table(changed.head(MAX_ROWS), f"images that one run classifies correctly{rest}")
    console.say(
        f"correct     both {agreement.both_correct:,}, only the first "
        f"{agreement.only_first_correct:,}, only the second {agreement.only_second_correct:,}, "
        f"neither {agreement.both_wrong:,}"
    )
    console.say(f"McNemar     p = {comparison.p_value:.3g}: {comparison.conclusion}")
    if comparison.directory:
        console.say(f"comparison  {comparison.directory}")
    if as_json:
        print_json(comparison.summary)
