"""`veduta search`: train a whole grid, choose by validation, open the test once."""

from typing import Annotated, Any

import typer

from veduta.cli.options import Config, Data, Json, Out, Preview, Recipe, Resume, unknown_flags

Grid = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=VALUE,VALUE,...: several values of a setting. Give it once a setting. "
        "With --resume the values are added to those of the run, and only new cells are run."
    ),
]


def search(  # noqa: PLR0913 - one a flag
    context: typer.Context,
    data: Data = None,
    *,
    grid: Grid = None,
    out: Out = None,
    config: Config = None,
    recipe: Recipe = None,
    resume: Resume = None,
    preview: Preview = False,
    as_json: Json = False,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Train every cell of a grid, choose by validation, open the test once for the winner.

    Example: veduta search photos --grid lr=3e-4,3e-3 --grid batch_size=32,64 --epochs 20

    Example: veduta search --resume runs/search-1 --grid lr=1e-2
    """
    from veduta import api
    from veduta.cli.preview import show
    from veduta.cli.printing import finish_run
    from veduta.config.parsing import parse_assignments
    from veduta.tracking.console import Console

    settings |= unknown_flags(context.args)
    values = parse_assignments(grid or [])
    console = Console(stderr=as_json)
    given: dict[str, Any] = {
        "grid": values,
        "out": out,
        "config": config,
        "recipe": recipe,
        "resume": resume,
    }
    if preview:
        show(data, given, console, as_json=as_json, settings=settings)
        return
    run = api.search(data, **given, console=console, **settings)
    finish_run(run, console, as_json=as_json)
