"""A previous run in a directory: its state, and whether it can be resumed."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from veduta.data.sample import abbreviate_names
from veduta.errors import InputError
from veduta.experiment.recovery.derived_files import find_missing_files
from veduta.experiment.recovery.rebuild import restore_missing_files
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import (
    OutputPath,
    RunDirectory,
    create_run_directory,
    format_resume_command,
    remove_temporary_files,
)
from veduta.runs.events import (
    Event,
    ProcessCrashed,
    RunResumed,
    RunStarted,
    SearchPlanned,
    TrialEnded,
    TrialFailed,
    TrialPaused,
    TrialStarted,
    configurations,
    events_of_type,
    has_finished,
    run_start,
)
from veduta.runs.journal import Journal, lock_journal, read_lines
from veduta.runs.provenance import Configuration
from veduta.runtime.disk import explain_write_errors
from veduta.runtime.interruption import announce_resume_command
from veduta.runtime.process import log_crash, read_crash_log, use_torch_threads
from veduta.tracking.console import Console
from veduta.tuning.previous_trials import PreviousTrials, reload_trials
from veduta.tuning.trials.space import Trial

MAX_CRASHES = 2  # number of crashes after which a trial counts as failed


@final
@dataclass(frozen=True, slots=True)
class PreviousRun:
    """A run that was started before.

    Attributes:
        directory: its directory.
        events: events of its journal.
        warnings: messages about ignored bytes at the end of its journal.
        ages: index of the first configuration of the run that contains a trial, by trial id.
        compare_images: whether the images are compared with those of the run even if it is
            complete.
    """

    directory: RunDirectory
    events: list[Event]
    warnings: Sequence[str]
    ages: Mapping[str, int]
    compare_images: bool

    @property
    def start(self) -> RunStarted:
        """The first event of its journal."""
        return run_start(self.events)

    @property
    def configurations(self) -> list[Configuration]:
        """The configuration with which it was started, and that of each extension."""
        return configurations(self.events)

    def is_complete(self, trials: Sequence[Trial]) -> bool:
        """Return whether it has finished all of `trials`, and has every file derived from images.

        Files derived from its journal alone may be missing: `restore` writes them again.
        """
        planned = {
            trial for event in events_of_type(self.events, SearchPlanned) for trial in event.trials
        }
        finished = has_finished(self.events) and planned.issuperset(trial.id for trial in trials)
        return finished and not find_missing_files(self.directory, self.events)

    def restore(self, console: Console) -> RunDirectory:
        """Write missing files again, and print that nothing is left to do."""
        for warning in self.warnings:
            console.warn(warning)
        directory, journal = self.reopen()
        with explain_write_errors(directory.path), journal:
            restored = restore_missing_files(directory, self.events)
        if restored:
            console.say(f"restored    {abbreviate_names(restored)}")
        console.say(f"{directory.path} is finished and has no new trial: nothing was run")
        return directory

    def load_trials(self, trials: Sequence[Trial], console: Console) -> PreviousTrials:
        """Return which of `trials` have ended, and which continue shorter trials."""
        previous = reload_trials(self.events, trials, scores=self.directory.scores, ages=self.ages)
        previous = replace(
            previous, continued=self._find_continued_trials(previous, trials, console)
        )
        ended = sum(previous.have_ended([trial]) for trial in trials)
        console.say(f"reused      {ended} of {len(trials)} trials; the others are run")
        return previous

    def reopen(self) -> tuple[RunDirectory, Journal]:
        """Return its directory and its open journal.

        Temporary files of a killed process are removed, and a crash of the last process is
        journaled.

        Raises:
            InputError: another process is writing the journal, or wrote to it after it was read.
        """
        with explain_write_errors(self.directory.path):
            journal = Journal.reopen(self.directory.journal)
        if len(journal.events) != len(self.events):
            with journal:
                raise InputError(
                    "a run is written by one process at a time; another process has just resumed "
                    f"{self.directory.path}: check its results, and resume it again if needed"
                )
        remove_temporary_files(self.directory)
        journal_crash(self.directory, journal)
        self.events.extend(journal.events[len(self.events) :])
        return self.directory, journal

    def _find_continued_trials(
        self, previous: PreviousTrials, trials: Sequence[Trial], console: Console
    ) -> dict[str, str]:
        """Return the shorter trial from whose checkpoint each trial continues, by trial id.

        If the learning rate does not depend on the number of epochs, the result is the same as
        when the longer trial is trained from its first epoch. Otherwise a trial continues only if
        there are no other trials, because the user then asked for a longer training.
        """
        continued = {}
        for trial in trials:
            origin = previous.continued.get(trial.id)
            if origin is None or previous.have_ended([trial]):
                continue
            if not Checkpoints(self.directory.checkpoints, origin).exist():
                continue  # the fused executor writes no checkpoints
            if trial.settings.schedule == "constant":
                continued[trial.id] = origin
            elif len(trials) == 1:
                continued[trial.id] = origin
                console.warn(
                    f"the first epochs had the {trial.settings.schedule} schedule of the shorter "
                    "trial; the remaining epochs have that of the longer trial"
                )
        return continued


def create_run(output: OutputPath) -> tuple[RunDirectory, Journal]:
    """Create the directory of a new run, and its journal."""
    directory = create_run_directory(output)
    with explain_write_errors(directory.path):
        return directory, Journal(directory.journal)


@contextmanager
def open_run(
    output: OutputPath, previous: PreviousRun | None, *, command: str
) -> Iterator[tuple[RunDirectory, Journal]]:
    """Create a run, or reopen the previous one, and close it at the end of the block.

    Write errors in the block are explained, an interruption prints the command that resumes the
    run, and a crash is logged in the directory.

    Args:
        output: path of a new run directory.
        previous: the run that is resumed, if there is one.
        command: name of the command that was called.
    """
    directory, journal = previous.reopen() if previous else create_run(output)
    with (
        announce_resume_command(format_resume_command(command, directory.path)),
        log_crash(directory.crash_log),
        explain_write_errors(directory.path),
        journal,
        use_torch_threads(1),
    ):
        yield directory, journal


def read_previous_run(path: Path, *, compare_images: bool) -> PreviousRun:
    """Read the run in a directory, without changing it.

    Raises:
        InputError: there is no run, another process is writing it, or its journal has no event.
        JournalError: its journal is damaged, or was written by a newer version.
    """
    directory = RunDirectory(path)
    rule = "--resume takes the directory of a run of `veduta search` or `veduta train`"
    if not directory.journal.is_file():
        raise InputError(
            f"{rule}, which has a journal.jsonl; {path} has none: give another directory"
        )
    try:
        with lock_journal(directory.journal, writable=True) as data:
            content = read_lines(data, directory.journal)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{rule} that can be written; {directory.journal}: {reason}: make it writable, or give "
            "another directory"
        ) from error
    if not content.events or not isinstance(content.events[0], RunStarted):
        raise InputError(
            f"{rule} whose journal begins with run_started; that of {path} does not: remove the "
            "directory, and start a new run"
        )
    return PreviousRun(directory, content.events, content.list_warnings(), {}, compare_images)


def journal_crash(directory: RunDirectory, journal: Journal) -> None:
    """Journal a crash of the last process of a run, if any, and the trials that failed by it."""
    if reason := read_crash_log(directory.crash_log):
        running = _list_running_trials(journal.events)
        if running:
            journal.append(ProcessCrashed(reason=reason, trials=running))
        crash_counts = Counter(
            trial
            for event in events_of_type(journal.events, ProcessCrashed)
            for trial in event.trials
        )
        for trial in running:
            if crash_counts[trial] >= MAX_CRASHES:
                message = f"the process crashed {MAX_CRASHES} times during its training: {reason}"
                journal.append(
                    TrialFailed(trial=trial, cause="crashed", reason=message, time=time.time())
                )
    directory.crash_log.unlink(missing_ok=True)


def _list_running_trials(events: Sequence[Event]) -> list[str]:
    """Return the ids of the trials that the last process started but neither ended nor paused."""
    running: dict[str, None] = {}
    for event in events:
        if isinstance(event, (RunStarted, RunResumed, ProcessCrashed)):
            running.clear()
        elif isinstance(event, TrialStarted):
            running[event.trial] = None
        elif isinstance(event, (TrialEnded, TrialPaused)):
            running.pop(event.trial, None)
    return list(running)
