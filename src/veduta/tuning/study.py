"""The study: trains all trials of a search, round by round and group by group."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch

from veduta.networks.freezing import Tail
from veduta.networks.heads import describe_head
from veduta.runs.checkpoints import Checkpoints, remove_other_checkpoints
from veduta.runs.events import HalvingRoundFinished, SearchPlanned, TilesPlanned
from veduta.runtime.disk import make_folder
from veduta.runtime.memory import is_out_of_memory
from veduta.training.folds import Fold
from veduta.tuning.executors.fused.executor import run_fused
from veduta.tuning.executors.pool import run_tiles
from veduta.tuning.executors.protocol import Executor, Heartbeat, TileEpochs
from veduta.tuning.executors.serial import TrainingContext, run_serial
from veduta.tuning.halving import HalvingRound, plan_halving_rounds
from veduta.tuning.memory_plan import (
    count_concurrent_tiles,
    estimate_tile_memory,
    find_memory_limit,
    measure_data,
)
from veduta.tuning.previous_trials import PreviousTrials, TileIds
from veduta.tuning.recorder import ProgressMeter, Recorder, ignore_message
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.space import Tile, Trial, group_trials, plan_tiles, uses_fused_executor
from veduta.types import Progress

FoldLoader: TypeAlias = Callable[[Trial], Sequence[Fold]]
"""Returns the images of a trial: one fold, or all folds of cross-validation."""

TailFinder: TypeAlias = Callable[[Trial], Tail | None]
"""Returns the backbone stages that a trial trains with its head, or None."""


def find_no_tail(_: Trial) -> None:
    """Return None; the default where no trial trains backbone stages."""


@dataclass(frozen=True, slots=True)
class ExecutionConfig:
    """How trials are executed; chosen once per run.

    Attributes:
        classes: number of classes.
        memory_limit: maximum number of bytes for all tiles that run at a time.
        threads: number of torch threads of a trial of the serial executor; its results depend on
            it.
        autocast: autocast dtype of such a trial; None for none.
        checkpoint_seconds: time between two checkpoints.
        hang_seconds: time without a step after which a training has failed.
        units_per_epoch: number of training images where progress is counted in images, else 1.
        warn: receives warnings.
    """

    classes: int
    memory_limit: int = field(default_factory=find_memory_limit)
    threads: int = 1
    autocast: torch.dtype | None = None
    checkpoint_seconds: float = 30.0
    hang_seconds: float = math.inf
    units_per_epoch: int = 1
    warn: Callable[[str], None] = ignore_message


@dataclass(slots=True)
class Study:
    """The training of all trials of a search.

    Attributes:
        recorder: receives all results.
        config: how trials are executed.
        previous: results of earlier attempts of the run.
        seconds: time spent in training, without the computation of features.
    """

    recorder: Recorder
    config: ExecutionConfig
    previous: PreviousTrials = field(default_factory=PreviousTrials)
    seconds: float = 0.0
    _planned_tiles: set[TileIds] = field(default_factory=set)

    def run(
        self, load_folds: FoldLoader, progress: Progress, *, find_tail: TailFinder = find_no_tail
    ) -> None:
        """Train all trials: group by group, the tiles of a group concurrently.

        `uses_fused_executor` decides which executor trains a trial. The fused executor trains even
        a single head in 0.5 to 0.9 of the time of the serial executor. The groups are journaled
        when the study starts, the tiles of a group when its features are ready. A trial that fails
        is recorded with its reason and the search continues; `recorder.best` is None if all failed.
        Results of earlier attempts are taken over, see `previous_trials`.

        Args:
            load_folds: returns the images of a trial.
            progress: receives the progress.
            find_tail: returns the backbone stages that a trial trains.
        """
        recorder, trials = self.recorder, self.recorder.trials
        make_folder(recorder.paths.scores)
        groups = group_trials(trials)
        recorder.journal.append(
            SearchPlanned(
                trials=[trial.id for trial in trials],
                groups=[[trial.id for trial in group] for group in groups],
            )
        )
        recorder.take_over(self.previous)
        remaining = {t.id: t.settings.epochs for t in trials if not recorder.has_ended(t)}
        meter = ProgressMeter(remaining, progress, self.config.units_per_epoch)
        run_group = partial(
            self._run_group, load_folds=load_folds, find_tail=find_tail, meter=meter
        )
        candidates = {trial.id for trial in trials}
        for halving_round in plan_halving_rounds(trials, trials[0].settings.halving):
            for group in groups:
                run_group([t for t in group if t.id in candidates], halving_round)
            promoted = self._promote([t for t in trials if t.id in candidates], halving_round)
            for group in groups:
                others = [t for t in group if t.id in candidates - promoted]
                run_group(others, halving_round, ends_at_pause=True)
            candidates = promoted
        if recorder.best is not None:
            remove_other_checkpoints(recorder.paths.checkpoints, recorder.best.outcome.trial)
        recorder.sort_outcomes()
        meter.finish()

    def _run_group(
        self,
        group: Sequence[Trial],
        halving_round: HalvingRound,
        *,
        load_folds: FoldLoader,
        find_tail: TailFinder,
        meter: ProgressMeter,
        ends_at_pause: bool = False,
    ) -> None:
        """Train the trials of a group that have not ended, up to the end of a round."""
        recorder, config = self.recorder, self.config
        first_event = 0 if self.previous.tiles else len(recorder.journal.events)
        if all(map(recorder.has_ended, group)):
            if self.previous.have_ended(group):
                recorder.write_curves(group, first_event)
            return
        folds, tail = load_folds(group[0]), find_tail(group[0])
        features = folds[0].train.shape[0] if tail is None else tail.features
        head = describe_head(group[0].settings, features, config.classes)
        tiles = self._plan_tiles([t for t in group if not recorder.has_ended(t)], head.parameters)
        sizes = measure_data(folds, config.classes)
        tile_bytes = max(estimate_tile_memory(tile, head, sizes) for tile in tiles)
        concurrent_tiles = count_concurrent_tiles(tiles, tile_bytes, config.memory_limit)
        is_fused = uses_fused_executor(group[0].settings)

        def train(tile: Tile, heartbeat: Heartbeat) -> TileEpochs:
            if is_fused:
                return run_fused(tile, folds, classes=config.classes, heartbeat=heartbeat)
            context = TrainingContext(
                config.classes,
                tail,
                config.autocast,
                pause_epoch=halving_round.find_last_epoch(tile[0]),
                ends_at_pause=ends_at_pause,
            )
            checkpointer = self._create_checkpointer(tile[0])
            return run_serial(
                tile, folds, context=context, checkpointer=checkpointer, heartbeat=heartbeat
            )

        started = time.perf_counter()
        threads = 1 if is_fused else config.threads
        workers = 1 if self.previous.crashed else max(1, concurrent_tiles // threads)
        run_tiles_on = partial(self._run_tiles, executor=train, meter=meter, threads=threads)
        if repeated := run_tiles_on(tiles, workers=workers):
            count = sum(map(len, repeated))
            config.warn(f"memory ran out; {count} trials are run again, one tile at a time")
            run_tiles_on(repeated, workers=1)
        self.seconds += time.perf_counter() - started
        recorder.write_curves(group, first_event)
        recorder.delete_old_weights()

    def _run_tiles(
        self,
        tiles: Sequence[Tile],
        *,
        executor: Executor,
        meter: ProgressMeter,
        workers: int,
        threads: int,
    ) -> list[Tile]:
        """Train tiles concurrently; return those that ran out of memory beside other tiles."""
        repeated = []
        is_alone = min(workers, len(tiles)) == 1
        results = run_tiles(
            tiles, executor, workers=workers, threads=threads, hang_seconds=self.config.hang_seconds
        )
        with closing(results):
            for tile, result in results:
                may_repeat = not is_alone and not any(map(self.recorder.has_ended, tile))
                if may_repeat and isinstance(result, Exception) and is_out_of_memory(result):
                    repeated.append(tile)
                else:
                    self.recorder.record(tile, result, meter)
        return repeated

    def _plan_tiles(self, group: Sequence[Trial], parameters: int) -> list[Tile]:
        """Return the tiles of a group: those of earlier attempts, and new ones, journaled."""
        earlier, new = self.previous.divide(group, lambda trials: plan_tiles(trials, parameters))
        tile_ids = [tuple(trial.id for trial in tile) for tile in new]
        unplanned = [ids for ids in tile_ids if ids not in self._planned_tiles]
        if unplanned:
            self.recorder.journal.append(TilesPlanned(tiles=[list(ids) for ids in unplanned]))
            self._planned_tiles.update(unplanned)
        return [*earlier, *new]

    def _promote(self, candidates: Sequence[Trial], halving_round: HalvingRound) -> set[str]:
        """Return the ids of the trials that continue in the next round.

        The decision of an earlier attempt of the run is kept. Trials that have ended normally
        compete with the others.
        """
        if halving_round.reduction_factor is None:
            return {trial.id for trial in candidates}
        journal = self.recorder.journal
        for event in journal.events:
            if isinstance(event, HalvingRoundFinished) and event.round == halving_round.number:
                return set(event.promoted)
        ranked = self.recorder.rank_trials(candidates)
        promoted = ranked[: halving_round.count_promoted(len(candidates))]
        journal.append(
            HalvingRoundFinished(
                round=halving_round.number, candidates=len(candidates), promoted=promoted
            )
        )
        return set(promoted)

    def _create_checkpointer(self, trial: Trial) -> Checkpointer:
        """Return the checkpointer of a trial, which may continue one with fewer epochs."""
        shorter = self.previous.continued.get(trial.id)
        return Checkpointer(
            self._open_checkpoints(trial.id),
            self._open_checkpoints(shorter) if shorter else None,
            self.config.checkpoint_seconds,
        )

    def _open_checkpoints(self, trial_id: str) -> Checkpoints:
        return Checkpoints(self.recorder.paths.checkpoints, trial_id, self.config.warn)
