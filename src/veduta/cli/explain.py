"""`veduta explain`: where the model of a run looks in an image."""

from pathlib import Path
from typing import Annotated

import typer

from veduta.cli.options import Json, Out

FEW = 12


def explain(  # noqa: PLR0913 - one a flag
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    *,
    method: Annotated[
        str,
        typer.Option(
            metavar="gradcam|occlusion",
            help="Grad-CAM, by the slopes of the network; or occlusion, which hides each place in "
            "turn, is slower, and works with any model.",
        ),
    ] = "gradcam",
    target: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Explain this class (default: the one predicted)."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Whose maps: the number of a stage, or a module's name (default: the last).",
        ),
    ] = None,
    maps: Annotated[
        bool, typer.Option("--maps", help="Draw the layer's feature maps too.")
    ] = False,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Draw the kernels of the first convolution too.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Heat maps: explain.png of all images, an overlay of each, and a table of what they are for.

    Example: veduta explain runs/search-1 holiday/ --target sea
    """
    from veduta import api
    from veduta.cli.printing import PARTLY, print_json
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    found = api.explain(
        run,
        images,
        method=method,
        target=target,
        layer=layer,
        maps=maps,
        kernels=kernels,
        out=out,
        console=console,
    )
    many = len(found.table)
    console.table(found.table.head(FEW), f"the first {FEW} of {many}" if many > FEW else "")
    for rejection in found.rejected[:FEW]:
        console.warn(f"{rejection.name}: {rejection.problem}: {rejection.detail}")
    if many:
        console.say(f"explained   {found.directory}/explain.png")
    if as_json:
        print_json(found.summary)
    if found.rejected:
        raise typer.Exit(PARTLY if many else 1)
