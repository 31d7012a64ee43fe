"""Where the page of a directory goes: beside what it shows, or into a file of its own."""

import json
from pathlib import Path

from veduta.errors import InputError
from veduta.reporting.pages import page
from veduta.reporting.pages.run_page import evaluation_page, run_page
from veduta.results.run import Run
from veduta.runs.directory import RunDirectory
from veduta.runs.files import expect_room, write_atomically

RULE = "a report shows a directory that search, train or evaluate have finished"


def write_report(path: Path, *, out: Path | None = None) -> Path:
    """Draw the page of a directory, from what stands in it alone.

    Args:
        path: of a search, a training or an evaluation.
        out: a new file; by default report.html in the directory, in place of one that is there.

    Raises:
        InputError: nothing finished is there, a file is missing or damaged, or `out` exists.
    """
    directory = RunDirectory(path)
    if out is not None:
        page.require_new(out)
    html = page_of(directory)
    if out is not None:
        page.write(out, html)
        return out
    with expect_room(directory.path):
        write_atomically(directory.report, html)
    return directory.report


def page_of(directory: RunDirectory) -> str:
    """The page of a directory as HTML. Errors as for `write_report`."""
    try:
        content = json.loads(directory.summary.read_text(encoding="utf-8"))
        command = content["command"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{RULE}; {directory.summary} cannot be read ({error}): give such a directory"
        ) from error
    if command == "evaluate":
        return evaluation_page(directory, content)
    if command in {"search", "train"}:
        return run_page(Run(directory.path))
    raise InputError(f"{RULE}; {directory.path} is of `veduta {command}`: give such a directory")
