"""Records the results of a study: in the journal at once, in files and on screen."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from veduta.config.parsing import to_json
from veduta.runs.events import (
    EpochFinished,
    Histogram,
    TileCompacted,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialPaused,
    TrialStarted,
    latest_attempts,
)
from veduta.runs.journal import Journal
from veduta.runs.scores import save_validation_scores
from veduta.tracking.console import Leaderboard
from veduta.tracking.tensorboard import unify_hyperparameter_types, write_trial
from veduta.training.loop import Epoch
from veduta.tuning.executors.protocol import TileEpoch, TileResult
from veduta.tuning.previous_trials import PreviousTrials
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import Tile, Trial
from veduta.tuning.trials.state import (
    FinishedTrial,
    build_failure_limit_error,
    describe_failure,
    find_failure_cause,
)
from veduta.tuning.trials.store import delete_weights, save_weights
from veduta.types import Progress

CURVES_INTERVAL = 30.0
"""Seconds between two updates of the TensorBoard curves of running trials."""


def ignore_message(_: str) -> None:
    """Ignore a message; the default where a caller shows none."""


@dataclass(slots=True)
class ProgressMeter:
    """Progress of a study, counted in epochs, or in images where epochs take long.

    The remaining epochs of a trial that stops early count as done. Epochs before a resume, which
    are reported again from a checkpoint, count neither as done nor towards the total.

    Attributes:
        remaining: number of remaining epochs by trial id.
        show: receives the progress.
        units_per_epoch: number of training images where images are counted, else 1.
    """

    remaining: dict[str, int]
    show: Progress
    units_per_epoch: int = 1
    _last_epochs: dict[str, int] = field(init=False)
    _counted_epochs: dict[str, int] = field(init=False)
    _images: dict[str, int] = field(default_factory=dict)  # of the epoch that is under way

    def __post_init__(self) -> None:
        self._last_epochs, self._counted_epochs = dict(self.remaining), dict(self.remaining)

    def add_images(self, trial: str, count: int) -> None:
        """Count training images of the epoch that is under way."""
        self._images[trial] = self._images.get(trial, 0) + count
        self._update()

    def finish_epoch(self, trial: str, number: int, *, repeated: bool = False) -> None:
        """Count one epoch of a trial.

        Args:
            trial: id of the trial.
            number: number of the epoch.
            repeated: whether it was trained before and is reported again.
        """
        self._images[trial] = 0
        remaining = min(self.remaining[trial], self._last_epochs[trial] - number)
        if repeated:
            self._counted_epochs[trial] -= self.remaining[trial] - remaining
        self.remaining[trial] = remaining
        self._update()

    def finish_trial(self, trial: str) -> None:
        """Count the remaining epochs of a trial as done."""
        self.remaining[trial] = self._images[trial] = 0

    def finish(self) -> None:
        """Report that everything is done."""
        total = self._count_total()
        self.show(total, total)

    def _update(self) -> None:
        images = sum(self._images.values()) if self.units_per_epoch > 1 else 0
        total = self._count_total()
        done = total - self.units_per_epoch * sum(self.remaining.values()) + images
        self.show(min(done, total), total)

    def _count_total(self) -> int:
        return self.units_per_epoch * sum(self._counted_epochs.values())


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """Folders that a study writes to."""

    tensorboard: Path
    scores: Path
    checkpoints: Path


@dataclass(slots=True)
class Recorder:
    """Outcomes and failures of the trials of a study, and the best trial so far.

    Attributes:
        trials: all trials in canonical order.
        journal: receives every event.
        paths: folders of scores, weights and curves.
        leaderboard: receives every epoch.
        outcomes: outcomes of the trials that ended normally.
        failures: messages of the trials that failed, by trial id.
        best: the best finished trial so far.
        paused: outcomes so far of paused trials, by trial id.
        show_epoch: receives a line per epoch where there is a single trial that trains a backbone.
        max_failures: number of trainings that may fail in a row, other than by divergence, before
            the search stops; None for no limit.
    """

    trials: Sequence[Trial]
    journal: Journal
    paths: StudyPaths
    leaderboard: Leaderboard = field(default_factory=Leaderboard)
    outcomes: list[Outcome] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    best: FinishedTrial | None = None
    paused: dict[str, Outcome] = field(default_factory=dict)
    show_epoch: Callable[[str], None] = ignore_message
    max_failures: int | None = None
    _failures_in_a_row: int = 0
    _canonical_index: dict[str, int] = field(init=False)
    _hyperparameters: dict[str, dict[str, float | str]] = field(init=False)
    _curves_written_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        ids = [trial.id for trial in self.trials]
        columns = unify_hyperparameter_types([to_json(t.hyperparameters) for t in self.trials])
        self._hyperparameters = dict(zip(ids, columns, strict=True))
        self._canonical_index = {trial_id: index for index, trial_id in enumerate(ids)}

    def has_ended(self, trial: Trial) -> bool:
        """Return whether a trial has ended, in this process or in an earlier attempt."""
        return trial.id in self.failures or any(o.trial == trial.id for o in self.outcomes)

    def take_over(self, previous: PreviousTrials) -> None:
        """Add the results of earlier attempts of the run."""
        self.outcomes += previous.outcomes.values()
        self.failures |= previous.failures
        self.best = previous.best
        for trial_id in (*previous.outcomes, *previous.failures):
            self.leaderboard.record_end(trial_id, failed=trial_id in previous.failures)
        for outcome in previous.outcomes.values():
            self.leaderboard.record_epoch(outcome.trial, outcome.best_epoch, outcome.val_accuracy)
        self.delete_old_weights()

    def record(self, tile: Tile, result: TileResult, meter: ProgressMeter) -> None:
        """Record a result of a tile.

        Raises:
            VedutaError: `max_failures` trainings in a row failed; the count restarts when a trial
                ends normally or diverges.
        """
        if isinstance(result, int):
            meter.add_images(tile[0].id, result)
        elif result is None:
            for trial in tile:
                values = to_json(trial.hyperparameters)
                self.journal.append(TrialStarted(trial=trial.id, hyperparameters=values))
        elif isinstance(result, Exception):
            for trial in tile:
                if not self.has_ended(trial):
                    self._record_failure(trial, result)
                    meter.finish_trial(trial.id)
            self._failures_in_a_row += 1
            if self._failures_in_a_row == self.max_failures:
                raise build_failure_limit_error(self._failures_in_a_row, describe_failure(result))
        else:
            self._record_epoch(result, meter)

    def _record_epoch(self, result: TileEpoch, meter: ProgressMeter) -> None:
        for trial, epoch in result.epochs:
            self.journal.append(_build_epoch_event(trial, epoch))
            repeated = len(epoch.val_logits) == 0  # a checkpoint keeps epochs without logits
            if len(self.trials) == 1 and epoch.weights is not None and not repeated:
                self.show_epoch(
                    format_epoch(epoch, epochs=trial.settings.epochs, images=meter.units_per_epoch)
                )
            self.leaderboard.record_epoch(trial.id, epoch.number, epoch.val_accuracy)
            meter.finish_epoch(trial.id, epoch.number, repeated=repeated)
        for outcome in result.paused:
            self.paused[outcome.trial] = outcome
            self.journal.append(TrialPaused(trial=outcome.trial))
        for trial, end in result.ended:
            self._failures_in_a_row = 0
            if isinstance(end, FinishedTrial):
                self._record_finished(trial, end)
            else:
                self._record_failure(trial, end)
            meter.finish_trial(trial.id)
        if result.remaining is not None:
            remaining = [trial.id for trial in result.remaining]
            self.journal.append(TileCompacted(epoch=result.number, trials=remaining))
        if time.monotonic() - self._curves_written_at > CURVES_INTERVAL:
            self.write_curves([trial for trial, _ in result.epochs])
            self._curves_written_at = time.monotonic()

    def _record_failure(self, trial: Trial, error: Exception) -> None:
        cause, reason = find_failure_cause(error), describe_failure(error)
        self.paused.pop(trial.id, None)
        self.failures[trial.id] = reason
        self.journal.append(
            TrialFailed(trial=trial.id, cause=cause, reason=reason, time=time.time())
        )
        self.leaderboard.record_end(trial.id, failed=True)

    def _record_finished(self, trial: Trial, finished: FinishedTrial) -> None:
        outcome, weights_sha256 = finished.outcome, None
        self.paused.pop(trial.id, None)
        self.outcomes.append(outcome)
        if self.best is None or self._rank(outcome) < self._rank(self.best.outcome):
            self.best = finished
            weights_sha256 = save_weights(self.paths.scores, finished)
        save_validation_scores(self.paths.scores / f"{trial.id}.npz", finished.validation_scores)
        self.journal.append(
            TrialFinished(
                trial=trial.id,
                end_reason=finished.end_reason,
                epochs_trained=outcome.epochs_trained,
                best_epoch=outcome.best_epoch,
                train_loss=outcome.train_loss,
                train_accuracy=outcome.train_accuracy,
                val_loss=outcome.val_loss,
                val_accuracy=outcome.val_accuracy,
                seconds=outcome.seconds,
                cost=outcome.cost,
                val_correct=int(outcome.correct.sum()),
                val_images=len(outcome.correct),
                weights_sha256=weights_sha256,
                time=time.time(),
            )
        )
        self.leaderboard.record_end(trial.id, failed=False)

    def rank_trials(self, trials: Iterable[Trial]) -> list[str]:
        """Return the ids of the given trials that have not failed, from the best to the worst."""
        known = {outcome.trial: outcome for outcome in self.outcomes} | self.paused
        outcomes = [known[trial.id] for trial in trials if trial.id in known]
        return [outcome.trial for outcome in sorted(outcomes, key=self._rank)]

    def _rank(self, outcome: Outcome) -> tuple[tuple[float, bool, int], int]:
        """Return a sort key: that of `rank_outcomes`, then canonical order."""
        return outcome.rank, self._canonical_index[outcome.trial]

    def sort_outcomes(self) -> None:
        """Put the outcomes into canonical order."""
        self.outcomes.sort(key=lambda outcome: self._canonical_index[outcome.trial])

    def delete_old_weights(self) -> None:
        """Delete the weights of trials that are no longer the best."""
        if self.best is not None:
            delete_weights(self.paths.scores, keep=self.best.outcome.trial)

    def write_curves(self, trials: Sequence[Trial], first: int = 0) -> None:
        """Write the TensorBoard runs of some trials.

        Args:
            trials: the trials.
            first: index of the first event in the journal that concerns them.
        """
        by_trial: dict[str, list[TrialEvent]] = {trial.id: [] for trial in trials}
        for event in latest_attempts(self.journal.events[first:]):
            if isinstance(event, TrialEvent) and event.trial in by_trial:
                by_trial[event.trial].append(event)
        for trial_id, events in by_trial.items():
            if events:
                folder = self.paths.tensorboard / trial_id
                write_trial(folder, self._hyperparameters[trial_id], events)


def _build_epoch_event(trial: Trial, epoch: Epoch) -> EpochFinished:
    """Return the event of one epoch of a trial."""
    histograms = None
    if epoch.weights is not None:
        histograms = {layer: Histogram(**asdict(h)) for layer, h in epoch.weights.items()}
    return EpochFinished(
        trial=trial.id,
        epoch=epoch.number,
        current_lr=epoch.current_lr,
        train_loss=epoch.train_loss,
        train_accuracy=epoch.train_accuracy,
        val_loss=epoch.val_loss,
        val_accuracy=epoch.val_accuracy,
        seconds=epoch.seconds,
        gradient_norm=epoch.gradient_norm,
        weight_histograms=histograms,
        time=time.time(),
    )


def format_epoch(epoch: Epoch, *, epochs: int, images: int) -> str:
    """Return the metrics of an epoch on one line.

    Args:
        epoch: the epoch.
        epochs: maximum number of epochs of its trial.
        images: number of training images.
    """
    return (
        f"epoch {epoch.number} of {epochs}: training {epoch.train_loss:.3f}, "
        f"{epoch.train_accuracy:.1%}; validation {epoch.val_loss:.3f}, {epoch.val_accuracy:.1%}; "
        f"lr {epoch.current_lr:.2g}; {epoch.seconds:.1f} s, {images / epoch.seconds:,.0f} images/s"
    )
