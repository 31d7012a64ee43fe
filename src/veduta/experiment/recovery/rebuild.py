"""Write the derived files of a run again from its journal, without images.

Tables, summary and report that agree with the journal stay untouched. Those that differ, because
they were edited, damaged, or written before the run was extended, are replaced. TensorBoard curves
are written again. If the journal is damaged, the run is copied up to the damaged line.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from veduta.errors import InputError
from veduta.experiment.recovery.derived_files import (
    DerivedFile,
    collect_curves,
    find_missing_files,
    list_derived_files,
)
from veduta.reporting.report import render_report
from veduta.runs.directory import RunDirectory, find_output_errors, remove_temporary_files
from veduta.runs.events import Event, RunStarted, has_finished
from veduta.runs.journal import (
    lines_before_damage,
    lock_journal,
    read_lines,
    split_lines,
)
from veduta.runtime.disk import explain_write_errors, replace_folder, write_atomically
from veduta.tracking.tensorboard import has_curves, write_trial

RULE = "files are written again from the journal of a run of `veduta search` or `veduta train`"


@final
@dataclass(slots=True)
class RebuildResult:
    """Which files of a run were written again.

    Attributes:
        directory: directory of the run.
        command: command that started it.
        warnings: which lines of its journal were ignored, one message each.
        created: names of files that were missing and were written.
        replaced: names of files that differed from the journal and were written again.
        unchanged: number of files that agreed with the journal.
        curves: number of trials whose TensorBoard curves were written again.
        missing: files that are missing and need the images, one message each.
        finished: whether the last process of the run reached its end.
    """

    directory: RunDirectory
    command: str
    warnings: list[str]
    created: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: int = 0
    curves: int = 0
    missing: list[str] = field(default_factory=list)
    finished: bool = False


def rebuild_run(path: Path) -> RebuildResult:
    """Write every derived file of a run again; its journal is not changed.

    Args:
        path: directory of the run.

    Raises:
        InputError: there is no run, or another process writes it.
        JournalError: its journal is damaged, or was written by a newer version.
    """
    directory = _find_run(path)
    with explain_write_errors(path), lock_journal(directory.journal) as data:
        return _rebuild(directory, data)


def copy_undamaged(path: Path, copy: Path) -> RebuildResult:
    """Copy a run whose journal is damaged, up to the first damaged line.

    The copy has the derived files that the shorter journal determines, and can be resumed. Scores,
    checkpoints and model are copied as they are; a resumed run replaces those of another winner.

    Args:
        path: directory of the run, which is not changed.
        copy: path of a new directory.

    Raises:
        InputError: there is no run, another process writes it, its journal is not damaged, or
            `copy` cannot be a new directory.
        JournalError: its journal was written by a newer version, or its first line is damaged.
    """
    directory = _find_run(path)
    with explain_write_errors(path), lock_journal(directory.journal) as data:
        undamaged = lines_before_damage(data, directory.journal)
        errors = _find_copy_errors(directory, copy, is_undamaged=undamaged == data)
        if error := InputError.unless_empty(errors):
            raise error
        with explain_write_errors(copy.parent):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with replace_folder(copy) as folder:
                new = RunDirectory(folder)
                _copy_files(directory, new)
                write_atomically(new.journal, undamaged)
                result = _rebuild(new, undamaged)
    damaged, last = len(split_lines(undamaged)) + 1, len(split_lines(data))
    lines = f"lines {damaged} to {last}" if damaged < last else f"line {damaged}"
    result.directory = RunDirectory(copy)
    result.warnings.append(f"{lines} not copied, since line {damaged} is damaged")
    return result


def restore_missing_files(directory: RunDirectory, events: Sequence[Event]) -> list[str]:
    """Write the derived files of a run that are missing, except its report; return their names."""
    restored = []
    for derived in list_derived_files(directory, events):
        path = directory.path / derived.name
        if not path.is_file():
            _write_file(path, derived.build())
            restored.append(derived.name)
    for trial, curves in collect_curves(events).items():
        folder = directory.tensorboard / trial
        if not has_curves(folder):
            write_trial(folder, curves.hyperparameters, curves.events, keep_pictures=True)
            restored.append(str(folder.relative_to(directory.path)))
    return restored


def _find_run(path: Path) -> RunDirectory:
    """Return the directory of a run.

    Raises:
        InputError: there is no run.
    """
    directory = RunDirectory(path)
    if not directory.journal.is_file():
        raise InputError(f"{RULE}; {path} has no journal.jsonl: give the directory of a run")
    return directory


def _rebuild(directory: RunDirectory, data: bytes) -> RebuildResult:
    """Write the derived files of a run whose journal has these bytes."""
    content = read_lines(data, directory.journal)
    events = content.events
    if not events or not isinstance(events[0], RunStarted):
        raise InputError(
            f"{RULE} that begins with run_started; that of {directory.path} does not: start a "
            "new run"
        )
    remove_temporary_files(directory)
    command = events[0].provenance.command
    result = RebuildResult(
        directory, command, content.list_warnings(), finished=has_finished(events)
    )
    for derived in list_derived_files(directory, events):
        _rebuild_file(derived, result)
    for trial, curves in collect_curves(events).items():
        folder = directory.tensorboard / trial
        write_trial(folder, curves.hyperparameters, curves.events, keep_pictures=True)
        result.curves += 1
    if result.finished:
        report = DerivedFile(directory.report.name, lambda: render_report(directory).encode())
        _rebuild_file(report, result)
    result.missing += find_missing_files(directory, events)
    return result


def _rebuild_file(derived: DerivedFile, result: RebuildResult) -> None:
    """Write one derived file, unless it exists with the same content."""
    path = result.directory.path / derived.name
    try:
        content = derived.build()
    except InputError as error:
        result.missing.append(f"{derived.name} ({error})")
        return
    exists = path.is_file()
    if exists and path.read_bytes() == content:
        result.unchanged += 1
        return
    _write_file(path, content)
    (result.replaced if exists else result.created).append(derived.name)


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def _find_copy_errors(directory: RunDirectory, copy: Path, *, is_undamaged: bool) -> list[str]:
    """Return the reasons why a copy cannot be made."""
    errors = [error.replace("--out", "--repair") for error in find_output_errors(copy)]
    if copy.resolve().is_relative_to(directory.path.resolve()):
        errors.append(f"a copy of a run must be outside of it; got {copy}: give another directory")
    if is_undamaged:
        errors.append(
            f"--repair needs a damaged journal; {directory.journal} is not damaged: leave it out"
        )
    return errors


def _copy_files(directory: RunDirectory, new: RunDirectory) -> None:
    """Copy the files of a run, except those that may show what the shorter journal lacks."""
    left_out = {
        directory.tensorboard,
        directory.summary,
        directory.label_issues,
        directory.report,
        directory.media,
    }

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if Path(folder, name) in left_out}

    shutil.copytree(directory.path, new.path, symlinks=True, dirs_exist_ok=True, ignore=ignore)
