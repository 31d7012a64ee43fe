"""`veduta explain`: show which parts of an image determine a prediction."""

from typing import Annotated, Literal

import typer

from veduta.cli.options import Images, Json, Out, RunDirectory

MAX_ROWS = 12


def explain(  # noqa: PLR0913 - one per option
    run: RunDirectory,
    images: Images,
    *,
    method: Annotated[
        Literal["gradcam", "occlusion"],
        typer.Option(
            help="Grad-CAM, from the gradients of the network; or occlusion, which covers each "
            "position of the image in turn, is slower, and works with any model.",
        ),
    ] = "gradcam",
    target: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Class to explain (default: the predicted class)."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Layer to explain: number of a stage, or name of a module (default: the last).",
        ),
    ] = None,
    maps: Annotated[
        bool, typer.Option("--maps", metavar="", help="Draw the feature maps of the layer too.")
    ] = False,
    kernels: Annotated[
        bool,
        typer.Option(
            "--kernels", metavar="", help="Draw the kernels of the first convolution too."
        ),
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Draw heat maps: explain.png with all images, an overlay of each, and a table.

    Example: veduta explain runs/search-1 holiday/ --target sea
    """
    from veduta import api
    from veduta.cli.printing import PARTLY_DONE, print_json
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    explanation = api.explain(
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
    count = len(explanation.table)
    title = f"the first {MAX_ROWS} of {count}" if count > MAX_ROWS else ""
    console.table(explanation.table.head(MAX_ROWS), title)
    for rejection in explanation.rejected[:MAX_ROWS]:
        console.warn(f"{rejection.name}: {rejection.problem}: {rejection.detail}")
    if count:
        console.say(f"explanation {explanation.directory}/explain.png")
    if as_json:
        print_json(explanation.summary)
    if explanation.rejected:
        raise typer.Exit(PARTLY_DONE if count else 1)
