"""`veduta predict`: label images with the model of a run."""

from pathlib import Path
from typing import Annotated

import typer

from veduta.cli.options import Json, Out

FEW = 12


def predict(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    *,
    top_k: Annotated[int, typer.Option(help="How many labels an image.")] = 1,
    max_error: Annotated[
        float | None,
        typer.Option(
            help="Abstain where confidence is too low for an error as low as this, like 0.02, "
            "among the other images.",
        ),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Label images: predictions.csv, and a table of the first few.

    Example: veduta predict runs/search-1 holiday/ --top-k 3
    """
    from veduta import api
    from veduta.cli.printing import PARTLY, print_json
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    found = api.predict(run, images, top_k=top_k, max_error=max_error, out=out, console=console)
    many = len(found.table)
    console.table(found.table.head(FEW), f"the first {FEW} of {many}" if many > FEW else "")
    for rejection in found.rejected[:FEW]:
        console.warn(f"{rejection.name}: {rejection.problem}: {rejection.detail}")
    if (how := found.abstention) is not None:
        left = int(found.table["abstained"].sum())
        console.say(
            f"abstained   {left:,} of {many:,} images have a confidence below {how.threshold:g}; "
            f"the others promise an error of at most {100 * how.max_error:g} %"
        )
    console.say(f"predictions {found.directory}/predictions.csv")
    if as_json:
        print_json(found.summary)
    if found.rejected:
        raise typer.Exit(PARTLY if many else 1)
