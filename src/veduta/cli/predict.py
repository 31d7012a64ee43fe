"""`veduta predict`: classify images with the model of a run."""

from typing import Annotated

import typer

from veduta.cli.options import Images, Json, Out, RunDirectory

MAX_ROWS = 12


def predict(
    run: RunDirectory,
    images: Images,
    *,
    top_k: Annotated[int, typer.Option(metavar="INTEGER", help="Number of labels per image.")] = 1,
    max_error: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Maximum error among accepted images, such as 0.02; the model abstains from "
            "images of low confidence.",
        ),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Classify images: write predictions.csv and print its first rows.

    Example: veduta predict runs/search-1 holiday/ --top-k 3
    """
    from veduta import api
    from veduta.cli.printing import PARTLY_DONE, print_json
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    predictions = api.predict(
        run, images, top_k=top_k, max_error=max_error, out=out, console=console
    )
    count = len(predictions.table)
    title = f"the first {MAX_ROWS} of {count}" if count > MAX_ROWS else ""
    console.table(predictions.table.head(MAX_ROWS), title)
    for rejection in predictions.rejected[:MAX_ROWS]:
        console.warn(f"{rejection.name}: {rejection.problem}: {rejection.detail}")
    if (rule := predictions.abstention) is not None:
        abstained = int(predictions.table["abstained"].sum())
        console.say(
            f"abstained   from {abstained:,} of {count:,} images with a confidence below "
            f"{rule.threshold:g}, for an error of at most {100 * rule.max_error:g} % among the "
            "accepted images"
        )
    console.say(f"predictions {predictions.directory}/predictions.csv")
    if as_json:
        print_json(predictions.summary)
    if predictions.rejected:
        raise typer.Exit(PARTLY_DONE if count else 1)
