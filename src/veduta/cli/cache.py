"""`veduta cache`: list or remove what is kept between runs."""

from typing import Annotated

import typer


def cache(
    *,
    clear: Annotated[
        bool, typer.Option("--clear", metavar="", help="Remove everything that is listed.")
    ] = False,
) -> None:
    """List the decoded images, features and int8 networks that are kept between runs."""
    from veduta import api
    from veduta.runtime.environment import get_cache_folder
    from veduta.tracking.console import Console

    table = api.cache(clear=clear)
    console = Console()
    if len(table):
        console.table(table, "")
    total = table["megabytes"].sum()
    console.say(f"{'removed' if clear else 'kept'} {total:,.1f} MB in {get_cache_folder()}")
