"""The study: runs what is pending, records what came of it, keeps a copy of the best."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from veduta.config.fields import plain
from veduta.models.freezing import Tail
from veduta.models.heads import head_of
from veduta.runs.journal import Event, Journal, latest_attempts
from veduta.search.course import Finished
from veduta.search.fused import TileEpoch, run_tile
from veduta.search.groups import Tile, fusable, groups, tiles
from veduta.search.kept import forget_weights, write_scores, write_weights
from veduta.search.progress import Meter, record_epoch
from veduta.search.reloaded import Past
from veduta.search.residency import allowed_bytes, side_by_side_of, sizes_of, tile_bytes
from veduta.search.selection import Outcome
from veduta.search.serial import run_alone
from veduta.search.space import Trial
from veduta.search.workers import side_by_side
from veduta.tracking.leaderboard import Leaderboard
from veduta.tracking.tensorboard import hyper_parameters, write_trial
from veduta.training.folds import Fold

Data = Callable[[Trial], Sequence[Fold]]
"""Training and validation examples of a trial, once or fold by fold."""

Tails = Callable[[Trial], Tail | None]
"""The stages that a trial trains with its head; None where the whole backbone is frozen."""


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
    past: Past = field(default_factory=Past)
    allowed: int = field(default_factory=allowed_bytes)  # for tiles side by side
    board: Leaderboard = field(default_factory=Leaderboard)
    outcomes: list[Outcome] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    best: Finished | None = None
    seconds: float = 0.0  # in training, features apart

    def run(
        self, data: Data, progress: Callable[[int, int], None], *, tails: Tails = lambda _: None
    ) -> None:
        """Run every trial, group by group, the tiles of a group side by side.

        The fused executor runs heads, one alone too, which takes it 0.5 to 0.9 of the serial
        one's time; the serial executor runs what is not `fusable`. The plan is journalled first:
        groups when the study starts, the tiles of a group when its features are there. A trial
        that fails is recorded with its reason and the search goes on; `best` is None where all
        have failed. What earlier attempts of the run have ended is taken over, see
        `search.reloaded`.
        """
        self.places.scores.mkdir(exist_ok=True)
        plan = groups(self.trials)
        names = [[trial.id for trial in group] for group in plan]
        self.journal.append("plan", trials=[trial.id for trial in self.trials], groups=names)
        shown = hyper_parameters([plain(trial.parameters) for trial in self.trials])
        parameters = dict(zip((trial.id for trial in self.trials), shown, strict=True))
        pending = [trial for trial in self.trials if not self.past.ended([trial])]
        meter = Meter({trial.id: trial.settings.epochs for trial in pending}, progress)
        self._take_over()
        for group in plan:
            first = 0 if self.past.tiles else len(self.journal.events)
            if self.past.ended(group):
                self._draw(group, parameters, first)
                continue
            folds, tail = data(group[0]), tails(group[0])
            features = folds[0].train.shape[0] if tail is None else tail.features
            head = head_of(group[0].settings, features, self.classes)
            old, fresh = self.past.cut(group, partial(tiles, parameters=head.parameters))
            if fresh:
                self.journal.append("tiles", tiles=[[trial.id for trial in t] for t in fresh])
            cut = [tile for tile in (*old, *fresh) if not self.past.ended(tile)]
            each = max(tile_bytes(tile, head, sizes_of(folds, self.classes)) for tile in cut)
            workers = side_by_side_of(cut, each, self.allowed)
            fused = fusable(group[0].settings)
            run = run_tile if fused else partial(run_alone, tail=tail)
            work = partial(run, folds=folds, classes=self.classes)
            started = time.perf_counter()
            with closing(side_by_side(cut, work, workers=workers)) as seen:
                for tile, came in seen:
                    self._take(tile, came, meter)
            self.seconds += time.perf_counter() - started
            self._draw(group, parameters, first)
            self._forget()
        self.outcomes.sort(key=lambda outcome: self._place(outcome.trial))
        meter.done()

    def _take_over(self) -> None:
        """What earlier attempts of the run have ended."""
        self.outcomes += self.past.outcomes.values()
        self.failed |= self.past.failed
        self.best = self.past.best
        for trial in (*self.past.outcomes, *self.past.failed):
            self.board.ended(trial, failed=trial in self.past.failed)
        for outcome in self.past.outcomes.values():
            self.board.epoch(outcome.trial, outcome.best_epoch, outcome.val_accuracy)
        self._forget()

    def _forget(self) -> None:
        """Remove weights of trials that were the best for a while."""
        if self.best is not None:
            forget_weights(self.places.scores, self.best.outcome.trial)

    def _take(self, tile: Tile, came: TileEpoch | Exception | None, meter: Meter) -> None:
        """Record that a tile starts, one epoch of it, or why none of its trials can go on."""
        if came is None:
            for trial in tile:
                known = plain(trial.parameters)
                self.journal.append("trial started", trial=trial.id, parameters=known)
            return
        if isinstance(came, Exception):
            ended = {*self.failed, *(outcome.trial for outcome in self.outcomes)}
            for trial in tile:
                if trial.id not in ended:
                    self._end(trial, came)
                    meter.ended(trial.id)
            return
        for trial, epoch in came.epochs:
            record_epoch(self.journal, trial, epoch)
            self.board.epoch(trial.id, epoch.number, epoch.val_accuracy)
            meter.epoch(trial.id)
        for trial, end in came.ended:
            self._end(trial, end)
            meter.ended(trial.id)
        if came.kept is not None:
            kept = [trial.id for trial in came.kept]
            self.journal.append("compacted", epoch=came.number, kept=kept)

    def _end(self, trial: Trial, end: Finished | Exception) -> None:
        fields: dict[str, object] = {"status": "finished"}
        if isinstance(end, Exception):
            reason = " ".join(str(end).split()) or type(end).__name__
            self.failed[trial.id] = reason
            fields = {"status": "failed", "reason": reason}
        else:
            outcome = end.outcome
            self.outcomes.append(outcome)
            if self.best is None or self._rank(outcome) < self._rank(self.best.outcome):
                self.best = end
                fields["weights"] = write_weights(self.places.scores, end)
            write_scores(self.places.scores / f"{trial.id}.npz", end)
            fields |= {name: getattr(outcome, name) for name in (*Outcome.FIGURES, "cost")}
            fields |= {"hits": int(outcome.hits.sum()), "images": len(outcome.hits)}
        self.journal.append("trial finished", trial=trial.id, **fields, time=time.time())
        self.board.ended(trial.id, failed=isinstance(end, Exception))

    def _place(self, trial: str) -> int:
        return next(place for place, other in enumerate(self.trials) if other.id == trial)

    def _rank(self, outcome: Outcome) -> tuple[float, int, int]:
        return -outcome.val_accuracy, outcome.cost, self._place(outcome.trial)

    def _draw(
        self, group: Sequence[Trial], parameters: Mapping[str, dict[str, object]], first: int
    ) -> None:
        """The TensorBoard runs of a group, of which the events from place `first` on tell."""
        of_trial: dict[str, list[Event]] = {trial.id: [] for trial in group}
        for event in latest_attempts(self.journal.events[first:]):
            if event.get("trial") in of_trial:
                of_trial[event["trial"]].append(event)
        for trial, found in of_trial.items():
            epochs = [event for event in found if event["event"] == "epoch"]
            write_trial(self.places.tensorboard / trial, parameters[trial], epochs, found[-1])
