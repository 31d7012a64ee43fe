"""`veduta lr-find`: suggest a learning rate."""

from pathlib import Path
from typing import Annotated, Any

import typer

from veduta.cli.options import DATA_HELP, Config, Json, Out, Preset, collect_unknown_flags


def lr_find(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(metavar="DATA", help=f"{DATA_HELP}.", show_default=False)],
    *,
    out: Out = None,
    config: Config = None,
    preset: Preset = None,
    as_json: Json = False,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Run a learning-rate range test: raise the learning rate per step and plot the loss.

    Example: veduta lr-find photos --optimizer sgd --batch-size 64
    """
    from veduta import api
    from veduta.cli.printing import print_json
    from veduta.tracking.console import Console

    settings |= collect_unknown_flags(context.args)
    console = Console(stderr=as_json)
    test = api.lr_find(data, out=out, config=config, preset=preset, console=console, **settings)
    if test.suggestion:
        steepest, tenth = test.suggestion.steepest, test.suggestion.tenth_of_minimum
        console.say(f"steepest    {steepest:.2g}, where the loss fell fastest")
        console.say(f"tenth       {tenth:.2g}, a tenth of the rate of lowest loss")
    else:
        console.warn("the loss did not fall by more than its scatter, so no rate is suggested")
    console.say(f"curve       {test.directory}/lr_find.png")
    if as_json:
        print_json(test.summary)
