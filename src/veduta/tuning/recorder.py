"""What came of the trials of a study: journalled as it comes, kept as far as it is needed."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from veduta.config.settings import plain
from veduta.runs.journal import Event, Journal, latest_attempts
from veduta.tracking.leaderboard import Leaderboard
from veduta.tracking.tensorboard import hyper_parameters, write_trial
from veduta.tuning.executors.fused.executor import TileEpoch
from veduta.tuning.executors.pool import Came
from veduta.tuning.previous_trials import Past
from veduta.tuning.trials.groups import Tile
from veduta.tuning.trials.progress import (
    Meter,
    cause_of,
    reason_of,
    record_epoch,
    told,
    too_many,
    unread,
)
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import Finished
from veduta.tuning.trials.store import forget_weights, write_scores, write_weights

LIVE = 30.0  # seconds between curves of trials that are under way


@dataclass(frozen=True, slots=True)
class Places:
    """Where a study writes."""

    tensorboard: Path
    scores: Path
    checkpoints: Path


@dataclass(slots=True)
class Record:
    """Outcomes and failures of trials, and the best so far whole."""

    trials: Sequence[Trial]
    journal: Journal
    places: Places
    board: Leaderboard = field(default_factory=Leaderboard)
    outcomes: list[Outcome] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    best: Finished | None = None
    paused: dict[str, Outcome] = field(default_factory=dict)
    tell: Callable[[str], None] = unread  # of each epoch of a training that is alone
    max_failures: int | None = None  # in a row, by anything but their numbers
    _in_a_row: int = 0
    _parameters: dict[str, dict[str, object]] = field(init=False)
    _drawn: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        shown = hyper_parameters([plain(trial.parameters) for trial in self.trials])
        self._parameters = dict(zip((trial.id for trial in self.trials), shown, strict=True))

    def ended(self, trial: Trial) -> bool:
        """Whether a trial has come to its end, in this process or as taken over."""
        ends = (outcome.trial for outcome in self.outcomes)
        return trial.id in self.failed or trial.id in ends

    def take_over(self, past: Past) -> None:
        """What earlier attempts of the run have ended."""
        self.outcomes += past.outcomes.values()
        self.failed |= past.failed
        self.best = past.best
        for trial in (*past.outcomes, *past.failed):
            self.board.ended(trial, failed=trial in past.failed)
        for outcome in past.outcomes.values():
            self.board.epoch(outcome.trial, outcome.best_epoch, outcome.val_accuracy)
        self.forget()

    def take(self, tile: Tile, came: Came, meter: Meter) -> None:
        """Record that a tile starts, a part of an epoch, one, or why its trials cannot go on.

        Raises:
            VedutaError: as many trainings in a row have failed as may; those that end well, or
                whose numbers ceased to be finite, stand between.
        """
        if isinstance(came, int):
            meter.images(tile[0].id, came)
        elif came is None:
            for trial in tile:
                known = plain(trial.parameters)
                self.journal.append("trial started", trial=trial.id, parameters=known)
        elif isinstance(came, Exception):
            for trial in tile:
                if not self.ended(trial):
                    self._end(trial, came)
                    meter.ended(trial.id)
            self._in_a_row += 1
            if self._in_a_row == self.max_failures:
                raise too_many(self._in_a_row, reason_of(came))
        else:
            self._take(came, meter)

    def _take(self, came: TileEpoch, meter: Meter) -> None:
        for trial, epoch in came.epochs:
            record_epoch(self.journal, trial, epoch)
            fresh = len(epoch.val_logits) > 0  # those before a resume have none any more
            if len(self.trials) == 1 and epoch.weights is not None and fresh:
                self.tell(told(epoch, of=trial.settings.epochs, images=meter.unit))
            self.board.epoch(trial.id, epoch.number, epoch.val_accuracy)
            meter.epoch(trial.id, epoch.number, fresh=fresh)
        for outcome in came.paused:
            self.paused[outcome.trial] = outcome
            self.journal.append("trial paused", trial=outcome.trial)
        for trial, end in came.ended:
            self._in_a_row = 0
            self._end(trial, end)
            meter.ended(trial.id)
        if came.kept is not None:
            kept = [trial.id for trial in came.kept]
            self.journal.append("compacted", epoch=came.number, kept=kept)
        if time.monotonic() - self._drawn > LIVE:
            self.draw([trial for trial, _ in came.epochs])
            self._drawn = time.monotonic()

    def _end(self, trial: Trial, end: Finished | Exception) -> None:
        fields: dict[str, object] = {"status": "finished"}
        self.paused.pop(trial.id, None)  # what it was then says nothing of it any more
        if isinstance(end, Exception):
            self.failed[trial.id] = reason_of(end)
            fields = {"status": "failed", "reason": reason_of(end), "cause": cause_of(end)}
        else:
            outcome = end.outcome
            self.outcomes.append(outcome)
            if self.best is None or self.rank(outcome) < self.rank(self.best.outcome):
                self.best = end
                fields["weights"] = write_weights(self.places.scores, end)
            write_scores(self.places.scores / f"{trial.id}.npz", end)
            fields |= {name: getattr(outcome, name) for name in (*Outcome.FIGURES, "cost")}
            fields |= {"hits": int(outcome.hits.sum()), "images": len(outcome.hits)}
            fields |= {"ended_by": end.reason}
        self.journal.append("trial finished", trial=trial.id, **fields, time=time.time())
        self.board.ended(trial.id, failed=isinstance(end, Exception))

    def standing(self, trials: Iterable[Trial]) -> list[str]:
        """Those of the trials that have not failed, from the best down."""
        came = {outcome.trial: outcome for outcome in self.outcomes} | self.paused
        known = [came[trial.id] for trial in trials if trial.id in came]
        return [outcome.trial for outcome in sorted(known, key=self.rank)]

    def rank(self, outcome: Outcome) -> tuple[tuple[float, bool, int], int]:
        """What outcomes are sorted by: as `best_first`, then canonical order."""
        return outcome.rank, self._place(outcome.trial)

    def sort(self) -> None:
        """Put the outcomes into canonical order."""
        self.outcomes.sort(key=lambda outcome: self._place(outcome.trial))

    def forget(self) -> None:
        """Remove weights of trials that were the best for a while."""
        if self.best is not None:
            forget_weights(self.places.scores, self.best.outcome.trial)

    def draw(self, group: Sequence[Trial], first: int = 0) -> None:
        """The TensorBoard runs of some trials, of which the events from place `first` on tell."""
        of_trial: dict[str, list[Event]] = {trial.id: [] for trial in group}
        for event in latest_attempts(self.journal.events[first:]):
            if event.get("trial") in of_trial:
                of_trial[event["trial"]].append(event)
        for trial, found in of_trial.items():
            if found:
                write_trial(self.places.tensorboard / trial, self._parameters[trial], found)

    def _place(self, trial: str) -> int:
        return next(place for place, other in enumerate(self.trials) if other.id == trial)
