"""The study: runs what is pending, round by round, group by group, and records what came of it."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from veduta.networks.freezing import Tail
from veduta.networks.heads import head_of
from veduta.runs.checkpoints import Checkpoints, keep_only
from veduta.runs.files import make_folder
from veduta.runtime.memory import ran_out
from veduta.training.folds import Fold
from veduta.tuning.executors.fused.executor import run_tile
from veduta.tuning.executors.pool import Epochs, Work, side_by_side
from veduta.tuning.executors.serial import Way, run_alone
from veduta.tuning.halving import Rung, rungs
from veduta.tuning.memory_plan import allowed_bytes, side_by_side_of, sizes_of, tile_bytes
from veduta.tuning.previous_trials import Names, Past
from veduta.tuning.recorder import Record
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.groups import Tile, fusable, groups, tiles
from veduta.tuning.trials.progress import Beat, Meter, unread
from veduta.tuning.trials.space import Trial

Data = Callable[[Trial], Sequence[Fold]]
"""Training and validation examples of a trial, once or fold by fold."""

Tails = Callable[[Trial], Tail | None]
"""The stages that a trial trains with its head; None where the whole backbone is frozen."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a study works with; decided once a run.

    Attributes:
        classes: how many.
        allowed: bytes that tiles may take side by side.
        threads: of torch for a trial that trains alone; the bits of what it trains depend on it.
        autocast: the type that such a trial computes products in; None: float32.
        halving: of so many trials one goes on to so many times the epochs; None: all do.
        checkpoint_seconds: between two checkpoints.
        hang_seconds: without a step, after which a training is given up.
        unit: images of an epoch, where progress is counted in images.
        warn: told of what must not be missed.
    """

    classes: int
    allowed: int = field(default_factory=allowed_bytes)
    threads: int = 1
    autocast: torch.dtype | None = None
    halving: int | None = None
    checkpoint_seconds: float = 30.0
    hang_seconds: float = math.inf
    unit: int = 1
    warn: Callable[[str], None] = unread


@dataclass(slots=True)
class Study:
    """All trials of a search."""

    record: Record
    means: Means
    past: Past = field(default_factory=Past)
    seconds: float = 0.0  # in training, features apart
    _cut: set[Names] = field(default_factory=set)

    def run(
        self, data: Data, progress: Callable[[int, int], None], *, tails: Tails = lambda _: None
    ) -> None:
        """Run every trial, group by group, the tiles of a group side by side.

        The fused executor runs heads, one alone too, which takes it 0.5 to 0.9 of the serial
        one's time; the serial executor runs what is not `fusable`, and everything where trials
        are halved. The plan is journalled first: groups when the study starts, the tiles of a
        group when its features are there. A trial that fails is recorded with its reason and the
        search goes on; `best` is None where all have failed. What earlier attempts of the run
        have ended is taken over, see `search.reloaded`.
        """
        record, trials = self.record, self.record.trials
        make_folder(record.places.scores)
        plan = groups(trials)
        names = [[trial.id for trial in group] for group in plan]
        record.journal.append("plan", trials=[trial.id for trial in trials], groups=names)
        record.take_over(self.past)
        left = {trial.id: trial.settings.epochs for trial in trials if not record.ended(trial)}
        meter = Meter(left, progress, self.means.unit)
        run = partial(self._run, data=data, tails=tails, meter=meter)
        alive = {trial.id for trial in trials}
        for rung in rungs(trials, self.means.halving):
            for group in plan:
                run([trial for trial in group if trial.id in alive], rung)
            promoted = self._promoted(rung, [trial for trial in trials if trial.id in alive])
            for group in plan:
                run([trial for trial in group if trial.id in alive - promoted], rung, last=True)
            alive = promoted
        if record.best is not None:
            keep_only(record.places.checkpoints, record.best.outcome.trial)
        record.sort()
        meter.done()

    def _run(
        self,
        group: Sequence[Trial],
        rung: Rung,
        data: Data,
        *,
        tails: Tails,
        meter: Meter,
        last: bool = False,
    ) -> None:
        """Take the trials of a group, those that have ended apart, up to a rung."""
        record = self.record
        first = 0 if self.past.tiles else len(record.journal.events)
        if all(map(record.ended, group)):
            if self.past.ended(group):
                record.draw(group, first)
            return
        folds, tail = data(group[0]), tails(group[0])
        features = folds[0].train.shape[0] if tail is None else tail.features
        head = head_of(group[0].settings, features, self.means.classes)
        cut = self._tiles([t for t in group if not record.ended(t)], head.parameters)
        each = max(tile_bytes(tile, head, sizes_of(folds, self.means.classes)) for tile in cut)
        workers = side_by_side_of(cut, each, self.means.allowed)
        threads = 1 if self._fused(group[0]) else self.means.threads
        way = Way(self.means.classes, tail, self.means.autocast, last=last)

        def work(tile: Tile, beat: Beat) -> Epochs:
            if self._fused(tile[0]):
                return run_tile(tile, folds, classes=self.means.classes, beat=beat)
            mine = replace(way, until=rung.epochs(tile[0]))
            return run_alone(tile, folds, way=mine, keeper=self._keeper(tile[0]), beat=beat)

        started = time.perf_counter()
        many = 1 if self.past.crashed else max(1, workers // threads)
        if again := self._train(cut, work, meter, workers=many, threads=threads):
            count = sum(map(len, again))
            self.means.warn(f"memory ran out; {count} trials are run again, one tile at a time")
            self._train(again, work, meter, workers=1, threads=threads)
        self.seconds += time.perf_counter() - started
        record.draw(group, first)
        record.forget()

    def _train(
        self, cut: Sequence[Tile], work: Work, meter: Meter, *, workers: int, threads: int
    ) -> list[Tile]:
        """Train tiles side by side; those that may do better alone, for memory ran out."""
        again = []
        trained = side_by_side(
            cut, work, workers=workers, threads=threads, hang_seconds=self.means.hang_seconds
        )
        with closing(trained) as seen:
            for tile, came in seen:
                alone = min(workers, len(cut)) == 1 or any(map(self.record.ended, tile))
                if not alone and isinstance(came, Exception) and ran_out(came):
                    again.append(tile)
                else:
                    self.record.take(tile, came, meter)
        return again

    def _fused(self, trial: Trial) -> bool:
        return fusable(trial.settings) and self.means.halving is None

    def _tiles(self, group: Sequence[Trial], parameters: int) -> list[Tile]:
        """The tiles of a group, as earlier attempts cut them; fresh ones are journalled."""

        def cut(some: Sequence[Trial]) -> list[Tile]:
            fused = self._fused(group[0])
            return tiles(some, parameters) if fused else [(trial,) for trial in some]

        old, fresh = self.past.cut(group, cut)
        named = [tuple(trial.id for trial in tile) for tile in fresh]
        if new := [names for names in named if names not in self._cut]:
            self.record.journal.append("tiles", tiles=[list(names) for names in new])
            self._cut.update(new)
        return [*old, *fresh]

    def _promoted(self, rung: Rung, alive: Sequence[Trial]) -> set[str]:
        """Which trials go on to the next round; as an earlier attempt of the run decided, if any.

        Those that have come to their end by themselves compete too.
        """
        if rung.keep is None:
            return {trial.id for trial in alive}
        for event in self.record.journal.events:
            if event["event"] == "rung" and event["number"] == rung.number:
                return set(event["promoted"])
        best = self.record.standing(alive)
        promoted = best[: rung.promoted(len(alive))]
        fields = {"number": rung.number, "promoted": promoted, "of": len(alive)}
        self.record.journal.append("rung", **fields)
        return set(promoted)

    def _keeper(self, trial: Trial) -> Keeper:
        """Of the checkpoints of a trial, and of the one that it goes on from where it has none."""
        origin = self.past.continued.get(trial.id)
        return Keeper(
            self._checkpoints(trial.id),
            self._checkpoints(origin) if origin else None,
            self.means.checkpoint_seconds,
        )

    def _checkpoints(self, trial: str) -> Checkpoints:
        return Checkpoints(self.record.places.checkpoints, trial, self.means.warn)
