"""`veduta lr-find`: which learning rate to start with."""

from pathlib import Path
from typing import Annotated, Any

import typer

from veduta.cli.options import Config, Json, Out, Recipe, unknown_flags


def lr_find(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of images (class folders, or train/ test/), or a CSV file.",
            show_default=False,
        ),
    ],
    *,
    out: Out = None,
    config: Config = None,
    recipe: Recipe = None,
    as_json: Json = False,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Raise the learning rate step by step and see where the loss falls: a range test, drawn.

    Example: veduta lr-find photos --optimizer sgd --batch-size 64
    """
    from veduta import api
    from veduta.cli.printing import print_json
    from veduta.tracking.console import Console

    settings |= unknown_flags(context.args)
    console = Console(stderr=as_json)
    found = api.lr_find(data, out=out, config=config, recipe=recipe, console=console, **settings)
    if found.suggestion:
        console.say(f"steepest    {found.suggestion.steepest:.2g}, where the loss fell fastest")
        console.say(f"careful     {found.suggestion.tenth:.2g}, a tenth of where it was lowest")
    else:
        console.warn("the loss fell at no rate by more than it scatters, so none is suggested")
    console.say(f"curve       {found.directory}/lr_find.png")
    if as_json:
        print_json(found.summary)
