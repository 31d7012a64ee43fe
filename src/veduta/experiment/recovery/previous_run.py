"""A previous run in a directory: its state, and whether it can be continued here."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from veduta.data.sample import some
from veduta.errors import InputError
from veduta.experiment.recovery.derived import ended
from veduta.experiment.recovery.integrity import lost
from veduta.experiment.recovery.rebuild import restore
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import Place, RunDirectory, create, tidy
from veduta.runs.files import expect_room
from veduta.runs.journal import Event, Journal, locked, read_lines
from veduta.runtime.process import crash_in
from veduta.tracking.console import Console
from veduta.tuning.previous_trials import Past, reload
from veduta.tuning.trials.progress import CRASHED
from veduta.tuning.trials.space import Trial

CRASHES = 2  # of a trial: it has failed
BEGINNINGS = {"start", "resumed", CRASHED}


def note_crash(directory: RunDirectory, journal: Journal) -> None:
    """Journal that the last attempt of a run crashed, if it did, and which trials have failed."""
    if words := crash_in(directory.crash):
        if under_way := _under_way(journal.events):
            journal.append(CRASHED, reason=words, trials=under_way)
        crashes = Counter(t for e in journal.events if e["event"] == CRASHED for t in e["trials"])
        reason = f"the process crashed {CRASHES} times while it was trained: {words}"
        for trial in under_way:
            if crashes[trial] >= CRASHES:
                fields = {"status": "failed", "reason": reason, "cause": CRASHED}
                journal.append("trial finished", trial=trial, **fields, time=time.time())
    directory.crash.unlink(missing_ok=True)


def _under_way(events: Sequence[Event]) -> list[str]:
    """The trials that the last attempt had begun, and neither ended nor left for a later round."""
    begins = [place for place, event in enumerate(events) if event["event"] in BEGINNINGS]
    begun: dict[str, None] = {}
    for event in events[begins[-1] :] if begins else ():
        if event["event"] == "trial started":
            begun[event["trial"]] = None
        elif event["event"] in {"trial finished", "trial paused"}:
            begun.pop(event["trial"], None)
    return list(begun)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that began before.

    Attributes:
        directory: where it is.
        events: of its journal.
        told: what of its journal was left out, in words.
        ages: by trial, with which of the run's grids it came first.
        compare: whether the images are to be compared even where nothing is left to do.
    """

    directory: RunDirectory
    events: list[Event]
    told: Sequence[str]
    ages: Mapping[str, int]
    compare: bool

    @property
    def start(self) -> Event:
        """What was decided when it began."""
        return self.events[0]

    @property
    def settings(self) -> list[dict[str, Any]]:
        """The settings, grid among them, that it began with, and each time it was extended."""
        return [event["settings"] for event in self.events if "settings" in event]

    def covers(self, trials: Sequence[Trial]) -> bool:
        """Whether its last attempt reached the end, none of `trials` is new, and it is whole.

        What its journal gives may be missing: `concluded` makes it again.
        """
        planned = {name for e in self.events if e["event"] == "plan" for name in e["trials"]}
        done = ended(self.events) and planned.issuperset(t.id for t in trials)
        return done and not lost(self.directory, self.events)

    def concluded(self, console: Console) -> RunDirectory:
        """Say that nothing is left to do; files that are missing are made again."""
        for said in self.told:
            console.warn(said)
        directory, journal = self.reopened()
        with expect_room(directory.path), journal:
            made = restore(directory, self.events)
        if made:
            console.say(f"made again  {some(made)}")
        console.say(f"{directory.path} is finished and has no new trial: nothing was run")
        return directory

    def past(self, trials: Sequence[Trial], console: Console) -> Past:
        """Those of `trials` that need not run again."""
        past = reload(self.events, trials, scores=self.directory.scores, ages=self.ages)
        past = replace(past, continued=self._continued(past, trials, console))
        ended = sum(past.ended([trial]) for trial in trials)
        console.say(f"taken over  {ended} of {len(trials)} trials; the others are run")
        return past

    def _continued(self, past: Past, trials: Sequence[Trial], console: Console) -> dict[str, str]:
        """Which trials go on from shorter ones.

        Where the rate does not depend on how many epochs there are, that is what they would be
        alone. Elsewhere only a training that is alone goes on, because that was asked for.
        """
        found = {}
        for trial in trials:
            origin = past.continued.get(trial.id)
            if origin is None or past.ended([trial]) or not self._kept(origin):
                continue
            if trial.settings.schedule == "constant":
                found[trial.id] = origin
            elif len(trials) == 1:
                found[trial.id] = origin
                console.warn(
                    f"the first epochs had the {trial.settings.schedule} schedule of the shorter "
                    "training; the others have that of the longer one"
                )
        return found

    def _kept(self, trial: str) -> bool:
        """Whether there are checkpoints of a trial; there are none of heads trained together."""
        return Checkpoints(self.directory.checkpoints, trial).exist()

    def reopened(self) -> tuple[RunDirectory, Journal]:
        """Its directory, without what a kill left half done, and its journal, to go on with.

        A crash of the last attempt is judged here, and journalled.

        Raises:
            InputError: another process is writing it, or has since it was read.
        """
        with expect_room(self.directory.path):
            journal = Journal.reopened(self.directory.journal)
        if len(journal.events) != len(self.events):
            with journal:
                raise InputError(
                    "a run is written by one process at a time; another went on with "
                    f"{self.directory.path} just now: look at it, and resume it again if need be"
                )
        tidy(self.directory)
        note_crash(self.directory, journal)
        self.events.extend(journal.events[len(self.events) :])
        return self.directory, journal


def begun(place: Place) -> tuple[RunDirectory, Journal]:
    """A new run directory, and its journal."""
    directory = create(place)
    with expect_room(directory.path):
        return directory, Journal(directory.journal)


def read_earlier(path: Path, *, compare: bool) -> Earlier:
    """The run in a directory; it is not changed.

    Raises:
        InputError: there is none, it is being written, or it had not begun.
        JournalError: its journal is damaged, or of a newer version.
    """
    directory = RunDirectory(path)
    rule = "--resume takes the directory of a run of `veduta search` or `veduta train`"
    if not directory.journal.is_file():
        raise InputError(f"{rule}, which has a journal.jsonl; {path} has none: give another")
    try:
        with locked(directory.journal, writable=True) as data:
            reading = read_lines(data, directory.journal)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{rule} that can be written; {directory.journal}: {reason}: give it back its mode, or "
            "give another"
        ) from error
    events = reading.events
    if not events or events[0]["event"] != "start":
        raise InputError(
            f"{rule} that had begun; {path} ended before its first event: remove it, and start anew"
        )
    return Earlier(directory, events, reading.warnings(), {}, compare)
