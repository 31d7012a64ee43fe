"""One self-contained HTML page: style inside, no script, no request, light and dark."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from veduta.errors import InputError
from veduta.runs.files import write_atomically
from veduta.tracking.html import isolated, named, visible

TEMPLATES = Environment(
    loader=PackageLoader("veduta.reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters.update(named=named, isolated=isolated, visible=visible)


def render(template: str, **content: Any) -> str:  # noqa: ANN401
    """The page that a template makes of its content; everything but Markup is escaped."""
    return TEMPLATES.get_template(template).render(**content)


def require_new(path: Path) -> None:
    """Raise InputError where a page could not be written, before work is done for it."""
    try:
        path.lstat()  # a link to nowhere is there too
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise InputError(f"a page needs a place to be written; {error.strerror}: {path}") from error
    else:
        raise InputError(f"a page is never overwritten; {path} exists: choose another name")
    if path.parent.is_file():
        raise InputError(
            f"a page is written into a folder; {path.parent} is a file: choose another"
        )
    if not path.parent.is_dir():
        raise InputError(f"a page is written into a folder; there is no {path.parent}: create it")


def write(path: Path, page: str) -> None:
    """Write a new file.

    Raises:
        InputError: it exists, or its folder cannot be written to.
    """
    require_new(path)
    try:
        write_atomically(path, page)
    except OSError as error:
        raise InputError(f"a page needs a folder to write to; {path}: {error.strerror}") from error
