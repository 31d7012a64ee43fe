"""The study: runs what is pending, records what came of it, keeps a copy of the best."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np

from veduta.config.settings import plain
from veduta.runs.files import write_arrays
from veduta.runs.journal import Journal
from veduta.search.selection import Outcome, best_first
from veduta.search.serial import Finished, record_epoch, run_trial
from veduta.search.space import Trial
from veduta.tracking.tensorboard import hyper_parameters, write_trial
from veduta.training.loop import Epoch
from veduta.training.state import Examples
from veduta.training.step import NotFiniteError

FAILURES = (NotFiniteError, RuntimeError, ArithmeticError, MemoryError)
"""What may go wrong with one trial: its numbers, or its size. The others go on."""

Data = Callable[[Trial], tuple[Examples, Examples]]
"""Training and validation examples of a trial."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a study writes."""

    tensorboard: Path
    scores: Path


@dataclass(slots=True)
class Study:
    """All trials of a search: outcomes in canonical order, and the best so far whole."""

    trials: Sequence[Trial]
    classes: int
    journal: Journal
    places: Places
    outcomes: list[Outcome] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    best: Finished | None = None

    def run(self, data: Data, progress: Callable[[int, int], None]) -> None:
        """Run every trial, one after the other.

        A trial that fails is recorded with its reason and the search goes on; `best` is None where
        all have failed.
        """
        self.places.scores.mkdir()
        shown = hyper_parameters([plain(trial.parameters) for trial in self.trials])
        *starts, total = accumulate((t.settings.epochs for t in self.trials), initial=0)

        def show(start: int, epochs: int) -> None:
            progress(start + epochs, total)

        for trial, parameters, start in zip(self.trials, shown, starts, strict=True):
            self._run_one(trial, data, partial(show, start))
            self._draw(trial, parameters)
        progress(total, total)

    def _run_one(self, trial: Trial, data: Data, progress: Callable[[int], None]) -> None:
        self.journal.append("trial started", trial=trial.id, parameters=plain(trial.parameters))
        train, validation = data(trial)

        def record(epoch: Epoch) -> None:
            record_epoch(self.journal, trial, epoch)
            progress(epoch.number)

        try:
            finished = run_trial(
                trial, train, validation=validation, classes=self.classes, record=record
            )
        except FAILURES as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self.failed[trial.id] = reason
            self._end(trial, status="failed", reason=reason)
            return
        outcome = finished.outcome
        self.outcomes.append(outcome)
        if self.best is None or best_first([self.best.outcome, outcome])[0] is outcome:
            self.best = finished
        write_arrays(
            self.places.scores / f"{trial.id}.npz",
            val_logits=finished.val_logits.numpy(),
            best_epoch=np.array(outcome.best_epoch),
            hits=np.packbits(finished.hits, axis=1),
            images=np.array(len(validation)),
        )
        figures = {name: getattr(outcome, name) for name in Outcome.FIGURES}
        hits = int(outcome.hits.sum())
        self._end(trial, status="finished", **figures, hits=hits, images=len(validation))

    def _end(self, trial: Trial, **fields: object) -> None:
        self.journal.append("trial finished", trial=trial.id, **fields, time=time.time())

    def _draw(self, trial: Trial, parameters: dict[str, object]) -> None:
        events = [event for event in self.journal.events if event.get("trial") == trial.id]
        epochs = [event for event in events if event["event"] == "epoch"]
        write_trial(self.places.tensorboard / trial.id, parameters, epochs, events[-1])
