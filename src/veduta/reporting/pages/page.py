"""One self-contained HTML page: style inside, no script, no request, light and dark."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from veduta.errors import InputError
from veduta.runtime.disk import write_atomically
from veduta.tracking.text import (
    format_estimate,
    format_interval,
    format_name,
    isolate_direction,
    make_visible,
)


def count_noun(count: int, noun: str) -> str:
    """Return a number and its noun in the singular or plural.

    >>> count_noun(1, "image"), count_noun(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def count_times(count: int) -> str:
    """Return how often something happened.

    >>> [count_times(count) for count in (0, 1, 3)]
    ['never', 'once', '3 times']
    """
    return {0: "never", 1: "once"}.get(count, f"{count:,} times")


TEMPLATES = Environment(
    loader=PackageLoader("veduta.reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters.update(
    count=count_noun,
    estimate=format_estimate,
    interval=format_interval,
    isolated=isolate_direction,
    named=format_name,
    percent="{:.1%}".format,
    times=count_times,
    visible=make_visible,
)


def render_page(template: str, **content: object) -> str:
    """Return the page of a template and its content; everything but Markup is escaped."""
    return TEMPLATES.get_template(template).render(**content)


def check_output_path(path: Path) -> None:
    """Check that a page can be written to a new file, before work is done for it.

    Raises:
        InputError: the file exists, or its folder does not exist.
    """
    try:
        path.lstat()  # finds broken links, too
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise InputError(
            f"a page must be written to a valid path; {path}: {error.strerror}: choose another name"
        ) from error
    else:
        raise InputError(f"a page is never overwritten; {path} exists: choose another name")
    if path.parent.is_file():
        raise InputError(
            f"a page must be written to a folder; {path.parent} is a file: choose another"
        )
    if not path.parent.is_dir():
        raise InputError(
            f"a page must be written to a folder; {path.parent} does not exist: create it"
        )


def write_page(path: Path, html: str) -> None:
    """Write a page to a new file.

    Raises:
        InputError: the file exists, or its folder does not exist or is not writable.
    """
    check_output_path(path)
    try:
        write_atomically(path, html)
    except OSError as error:
        raise InputError(
            f"a page must be written to a writable folder; {path}: {error.strerror}: choose another"
        ) from error
