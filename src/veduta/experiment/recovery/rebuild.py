"""A run's derived files made again from its journal, without an image.

Tables, summary and report that are as the journal says stay untouched; those that differ, because
they were edited, damaged, or written before the run went on, are replaced. TensorBoard curves are
written again. Where the journal is damaged, a copy of the run is made up to the damaged line.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from veduta.errors import InputError
from veduta.experiment.recovery.derived import Derived, curves_in, derived_of, ended
from veduta.experiment.recovery.integrity import lost
from veduta.runs.directory import RunDirectory, new_directory_faults, tidy
from veduta.runs.files import expect_room, replace_folder, write_atomically
from veduta.runs.journal import Event, lines_before_damage, locked, read_lines, split_lines
from veduta.tracking.tensorboard import has_curves, write_trial

Draw = Callable[[RunDirectory], str]
"""Draws the report of a run that has ended, from its directory."""

RULE = "what is made again comes from the journal of a run of `veduta search` or `veduta train`"


@final
@dataclass(slots=True)
class Rebuilt:
    """What became of the files of a run.

    Attributes:
        directory: The run.
        command: The command that began it.
        warnings: What of its journal was left out, in words.
        made: Names of the files that were missing and are written.
        replaced: Names of the files that differed from the journal and are written again.
        same: Number of files that were as the journal says.
        curves: Number of trials whose TensorBoard curves are written again.
        missing: What the journal alone does not give, each in words.
        ended: Whether the last attempt of the run came to its end.
    """

    directory: RunDirectory
    command: str
    warnings: list[str]
    made: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    same: int = 0
    curves: int = 0
    missing: list[str] = field(default_factory=list)
    ended: bool = False


def rebuild(path: Path, *, draw: Draw) -> Rebuilt:
    """Make every derived file of a run again; the journal is not touched.

    Args:
        path: Directory of the run.
        draw: Gives the report of a run that has ended.

    Raises:
        InputError: There is no run, or it is being written.
        JournalError: Its journal is damaged, or of a newer version.
    """
    directory = _run_in(path)
    with expect_room(path), locked(directory.journal) as data:
        return _rebuild(directory, data, draw=draw)


def copy_undamaged(path: Path, copy: Path, *, draw: Draw) -> Rebuilt:
    """Copy a run whose journal is damaged, up to the first damaged line.

    The copy has the derived files that the shorter journal gives, and can be resumed. Scores,
    checkpoints and model are copied as they are; a resumed run replaces those of another winner.

    Args:
        path: Directory of the run, which is not changed.
        copy: A new directory.
        draw: Gives the report of a run that has ended.

    Raises:
        InputError: There is no run, it is being written, its journal is whole, or `copy` cannot be
            a new directory.
        JournalError: The journal is of a newer version, or damaged from its first line.
    """
    directory = _run_in(path)
    with expect_room(path), locked(directory.journal) as data:
        kept = lines_before_damage(data, directory.journal)
        if error := InputError.unless_empty(_copy_faults(directory, copy, whole=kept == data)):
            raise error
        with expect_room(copy.parent):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with replace_folder(copy) as folder:
                new = RunDirectory(folder)
                _copy_files(directory, new)
                write_atomically(new.journal, kept)
                rebuilt = _rebuild(new, kept, draw=draw)
    number, count = len(split_lines(kept)) + 1, len(split_lines(data))
    lines = f"lines {number} to {count}" if number < count else f"line {number}"
    rebuilt.directory = RunDirectory(copy)
    rebuilt.warnings.append(f"{lines}: left out, as line {number} is damaged")
    return rebuilt


def restore(directory: RunDirectory, events: Sequence[Event]) -> list[str]:
    """Make the derived files of a run that are missing, its report apart; return their names."""
    made = []
    for one in derived_of(directory, events):
        path = directory.path / one.name
        if not path.is_file():
            _put(path, one.content())
            made.append(one.name)
    for trial, (parameters, of_trial) in curves_in(events).items():
        folder = directory.tensorboard / trial
        if not has_curves(folder):
            write_trial(folder, parameters, of_trial)
            made.append(str(folder.relative_to(directory.path)))
    return made


def _run_in(path: Path) -> RunDirectory:
    """Return the directory of a run.

    Raises:
        InputError: There is none.
    """
    directory = RunDirectory(path)
    if not directory.journal.is_file():
        raise InputError(f"{RULE}; {path} has no journal.jsonl: give the directory of a run")
    return directory


def _rebuild(directory: RunDirectory, data: bytes, *, draw: Draw) -> Rebuilt:
    """Make the files of a run that the bytes of its journal give."""
    reading = read_lines(data, directory.journal)
    events = reading.events
    if not events or events[0]["event"] != "start":
        raise InputError(f"{RULE} that had begun; {directory.path} ended before: start a new run")
    tidy(directory)
    rebuilt = Rebuilt(directory, events[0]["command"], reading.warnings(), ended=ended(events))
    for one in derived_of(directory, events):
        _write(one, rebuilt)
    for trial, (parameters, of_trial) in curves_in(events).items():
        write_trial(directory.tensorboard / trial, parameters, of_trial)
        rebuilt.curves += 1
    if rebuilt.ended:
        _write(Derived(directory.report.name, lambda: draw(directory).encode()), rebuilt)
    rebuilt.missing += lost(directory, events)
    return rebuilt


def _write(one: Derived, rebuilt: Rebuilt) -> None:
    """Write one derived file, unless it is there with the same content."""
    path = rebuilt.directory.path / one.name
    try:
        content = one.content()
    except InputError as error:
        rebuilt.missing.append(f"{one.name} ({error})")
        return
    exists = path.is_file()
    if exists and path.read_bytes() == content:
        rebuilt.same += 1
        return
    _put(path, content)
    (rebuilt.replaced if exists else rebuilt.made).append(one.name)


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def _copy_faults(directory: RunDirectory, copy: Path, *, whole: bool) -> list[str]:
    """Return the reasons why a copy cannot be made."""
    faults = [fault.replace("--out", "--repair") for fault in new_directory_faults(copy)]
    if copy.resolve().is_relative_to(directory.path.resolve()):
        faults.append(f"a copy of a run stands outside of it; got {copy}: choose another place")
    if whole:
        faults.append(
            f"a copy is for a damaged journal; {directory.journal} is whole: leave --repair out"
        )
    return faults


def _copy_files(directory: RunDirectory, new: RunDirectory) -> None:
    """Copy the files of a run, without those that show what a shorter journal may not know."""
    later = {directory.tensorboard, directory.summary, directory.label_issues, directory.report}
    later.add(directory.media)

    def left_out(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if Path(folder, name) in later}

    shutil.copytree(directory.path, new.path, symlinks=True, dirs_exist_ok=True, ignore=left_out)
