"""`veduta compare`: two runs on the same test images."""

from pathlib import Path
from typing import Annotated

import typer

from veduta.cli.options import Json

FEW = 12


def compare(
    first: Annotated[Path, typer.Argument(help="Run directory.")],
    second: Annotated[Path, typer.Argument(help="Run directory with the same test images.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="New directory for summary.json and changed.csv.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Which of two runs is better on the same test images, and whether that is more than luck.

    Example: veduta compare runs/search-1 runs/search-2
    """
    from veduta import api
    from veduta.cli.printing import print_json
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    found = api.compare(first, second, out=out)
    counts, changed = found.counts, found.changed
    console.say(f"first       {first}\nsecond      {second}")
    title = f"on the same {sum(counts.values()):,} test images, with 95 % intervals"
    console.table(found.table, title)
    if len(changed):
        more = f", the first {FEW} of {len(changed)}" if len(changed) > FEW else ""
        console.table(changed.head(FEW), f"images that changed sides{more}")
    console.say(
        f"right       both {counts['both_right']:,}, only the first {counts['only_first']:,}, only "
        f"the second {counts['only_second']:,}, neither {counts['both_wrong']:,}"
    )
    console.say(f"McNemar     p = {found.p_value:.3g}: {found.verdict}")
    if found.directory:
        console.say(f"comparison  {found.directory}")
    if as_json:
        print_json(found.summary)
