"""`veduta train`: one model, with the same honesty as a search."""

from typing import Any

import typer

from veduta.cli.options import Config, Data, Json, Out, Preview, Recipe, Resume, unknown_flags


def train(  # noqa: PLR0913 - flags
    context: typer.Context,
    data: Data = None,
    *,
    out: Out = None,
    config: Config = None,
    recipe: Recipe = None,
    resume: Resume = None,
    preview: Preview = False,
    as_json: Json = False,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Train one model; its test images are sealed until it is done.

    Example: veduta train photos --lr 1e-3 --epochs 20
    """
    from veduta import api
    from veduta.cli.preview import show
    from veduta.cli.printing import finish_run
    from veduta.tracking.console import Console

    settings |= unknown_flags(context.args)
    console = Console(stderr=as_json)
    given: dict[str, Any] = {"out": out, "config": config, "recipe": recipe, "resume": resume}
    if preview:
        show(data, given, console, as_json=as_json, settings=settings)
        return
    run = api.train(data, **given, console=console, **settings)
    finish_run(run, console, as_json=as_json)
