"""`veduta cache`: what earlier runs left for later ones."""

from typing import Annotated

import typer


def cache(*, clear: Annotated[bool, typer.Option("--clear", help="Remove it.")] = False) -> None:
    """Pixels, features and networks in int8 that are kept between runs; `--clear` removes them."""
    from veduta import api
    from veduta.runtime.environment import cache_folder
    from veduta.tracking.console import Console

    table = api.cache(clear=clear)
    console = Console()
    if len(table):
        console.table(table, "")
    total = table["megabytes"].sum()
    console.say(f"{'removed' if clear else 'held'} {total:,.1f} MB, in {cache_folder()}")
