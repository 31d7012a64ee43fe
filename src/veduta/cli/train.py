"""`veduta train`: train one model and evaluate it once on the held-out test set."""

from typing import Any

import typer

from veduta.cli.options import (
    Config,
    Data,
    Json,
    Out,
    Preset,
    Preview,
    Resume,
    collect_unknown_flags,
    draw_preview,
)


def train(  # noqa: PLR0913 - one per option
    context: typer.Context,
    data: Data = None,
    *,
    out: Out = None,
    config: Config = None,
    preset: Preset = None,
    resume: Resume = None,
    preview: Preview = False,
    as_json: Json = False,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Train one model, and evaluate it once on held-out test images.

    Example: veduta train photos --lr 1e-3 --epochs 20
    """
    from veduta import api
    from veduta.cli.printing import finish_run
    from veduta.tracking.console import Console

    settings |= collect_unknown_flags(context.args)
    console = Console(stderr=as_json)
    options: dict[str, Any] = {"out": out, "config": config, "preset": preset, "resume": resume}
    if preview:
        draw_preview(data, options, console, as_json=as_json, settings=settings)
        return
    run = api.train(data, **options, console=console, **settings)
    finish_run(run, console, as_json=as_json)
