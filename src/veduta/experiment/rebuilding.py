"""A run's derived files made again from its journal, without an image.

What stands there and is as the journal says stays untouched. What differs, because it was edited,
damaged, or written before the run went on, is kept in a folder `before-N` of the run, so that
nothing is overwritten without a trace.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from veduta.errors import InputError
from veduta.experiment.derived import Derived, derived_of, ended
from veduta.experiment.lost import lost
from veduta.runs.directory import RunDirectory, next_free
from veduta.runs.files import expect_room, write_atomically
from veduta.runs.journal import locked
from veduta.runs.lines import Event, read_lines
from veduta.runs.tidying import tidy
from veduta.runtime.disk import sync
from veduta.tracking.tensorboard import PICTURES

Draw = Callable[[RunDirectory], str]
"""Draws the report of a run that has ended, from its directory."""

RULE = "what is made again comes from the journal of a run of `veduta search` or `veduta train`"


@final
@dataclass(slots=True)
class Rebuilt:
    """What became of the files of a run.

    Attributes:
        directory: the run.
        command: that began it.
        told: what of its journal was left out or mended, in words.
        made: names of the files that were written.
        same: how many were there as the journal says.
        differed: names of those that were there otherwise.
        before: where these are now; None where there is none.
        missing: what the journal alone does not give, each in words.
        ended: whether the last attempt of the run came to its end.
    """

    directory: RunDirectory
    command: str
    told: list[str]
    made: list[str] = field(default_factory=list)
    same: int = 0
    differed: list[str] = field(default_factory=list)
    before: Path | None = None
    missing: list[str] = field(default_factory=list)
    ended: bool = False


def rebuild(path: Path, *, draw: Draw) -> Rebuilt:
    """Make every derived file of a run again; the journal is not touched.

    Args:
        path: the directory of the run.
        draw: gives the report of a run that has ended.

    Raises:
        InputError: there is no run, or it is being written.
        JournalError: its journal is damaged, or of a newer version.
    """
    directory = run_in(path)
    with expect_room(path), locked(directory.journal) as data:
        return remade(directory, data, draw=draw)


def restore(directory: RunDirectory, events: Sequence[Event]) -> list[str]:
    """Make those of a run's derived files that are missing, its report apart; their names."""
    made = []
    for one in derived_of(directory, events):
        path = directory.path / one.name
        if not path.is_file():
            _put(path, one.content())
            made.append(one.name)
    return made


def run_in(path: Path) -> RunDirectory:
    """The directory of a run.

    Raises:
        InputError: there is none.
    """
    directory = RunDirectory(path)
    if not directory.journal.is_file():
        raise InputError(f"{RULE}; {path} has no journal.jsonl: give the directory of a run")
    return directory


def remade(directory: RunDirectory, data: bytes, *, draw: Draw, keep: bool = True) -> Rebuilt:
    """Make the files of a run that its journal gives.

    Args:
        directory: of the run.
        data: the bytes of its journal.
        draw: gives the report of a run that has ended.
        keep: whether what differs is kept.
    """
    reading = read_lines(data, directory.journal)
    events = reading.events
    if not events or events[0]["event"] != "start":
        raise InputError(f"{RULE} that had begun; {directory.path} ended before: start a new run")
    tidy(directory, directory.tensorboard.glob("*/"))
    found = Rebuilt(directory, events[0]["command"], reading.told(), ended=ended(events))
    derived = [*derived_of(directory, events)]
    if found.ended:
        derived.append(Derived(directory.report.name, lambda: draw(directory).encode()))
    for one in derived:
        _take(one, found, keep=keep)
    found.missing += lost(directory, events)
    return found


def _take(one: Derived, found: Rebuilt, *, keep: bool) -> None:
    """Put one file into its place, where it does not stand there."""
    path = found.directory.path / one.name
    try:
        content = one.content()
    except InputError as error:
        found.missing.append(f"{one.name} ({error})")
        return
    if path.is_file() and path.read_bytes() == content:
        found.same += 1
        return
    others = _in_place_of(path, found.directory)
    if keep:
        for other in others:
            _keep(other, found)
    _put(path, content)
    for other in others:
        if other != path:
            other.unlink()
    found.made.append(one.name)


def _in_place_of(path: Path, directory: RunDirectory) -> list[Path]:
    """The files that stand where one shall be; curves of a trial have other names at each time."""
    if not path.is_relative_to(directory.tensorboard):
        return [path] if os.path.lexists(path) else []
    curves = (other for other in path.parent.glob("*") if not other.name.endswith(PICTURES))
    return [other for other in curves if other.is_file()]


def _keep(path: Path, found: Rebuilt) -> None:
    """Keep a file that differs, beside its new one; no moment has neither."""
    run = found.directory.path
    if found.before is None:
        found.before = next_free(run, "before")
    name = path.relative_to(run)
    kept = found.before / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(path, kept, follow_symlinks=False)
        sync(kept)
    sync(kept.parent)
    found.differed.append(str(name))


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
