"""`veduta search`: train a grid of trials, select on validation, evaluate the winner on test."""

from typing import Annotated, Any

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

Grid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=A,B,...",
        help="Values of a setting to try; repeat the option for each setting. With --resume the "
        "values are added to those of the run, and only new trials are trained.",
    ),
]


def search(  # noqa: PLR0913 - one per option
    context: typer.Context,
    data: Data = None,
    *,
    grid: Grid = None,
    out: Out = None,
    config: Config = None,
    preset: Preset = None,
    resume: Resume = None,
    preview: Preview = False,
    as_json: Json = False,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Train every trial of a grid, select the best on validation, evaluate it once on test.

    Example: veduta search photos --grid lr=3e-4,3e-3 --grid batch_size=32,64 --epochs 20

    Example: veduta search --resume runs/search-1 --grid lr=1e-2
    """
    from veduta import api
    from veduta.cli.printing import finish_run
    from veduta.config.parsing import parse_assignments
    from veduta.tracking.console import Console

    settings |= collect_unknown_flags(context.args)
    console = Console(stderr=as_json)
    options: dict[str, Any] = {
        "grid": parse_assignments(grid or []),
        "out": out,
        "config": config,
        "preset": preset,
        "resume": resume,
    }
    if preview:
        draw_preview(data, options, console, as_json=as_json, settings=settings)
        return
    run = api.search(data, **options, console=console, **settings)
    finish_run(run, console, as_json=as_json)
