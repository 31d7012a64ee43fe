"""Trials that earlier attempts of a run finished, so that a resumed run does not repeat them.

A tile gives the same results whenever it runs. So a tile whose trials have all ended is taken over
from the journal and the files beside it, and any other tile runs again as a whole. Failed trials
whose cause would occur again count as ended; others run again, until the run has finished: after
that its results do not change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from veduta.config.parsing import to_json
from veduta.runs.events import (
    Event,
    ProcessCrashed,
    RunFinished,
    TilesPlanned,
    TrialFailed,
    TrialFinished,
    TrialStarted,
    events_of_type,
    latest_attempts,
)
from veduta.runs.scores import find_validation_scores
from veduta.tuning.trials.selection import Outcome, rank_outcomes
from veduta.tuning.trials.space import Tile, Trial
from veduta.tuning.trials.state import PERMANENT_CAUSES, FinishedTrial
from veduta.tuning.trials.store import load_finished_trial

TileIds: TypeAlias = tuple[str, ...]
"""Ids of the trials of a tile."""


@dataclass(frozen=True, slots=True)
class PreviousTrials:
    """Results of earlier attempts of a run; empty for a new run.

    Attributes:
        tiles: the tiles that were planned; new trials form tiles of their own.
        ages: by trial id, the number of the run's grids in which the trial first appeared; trials
            of different grids are never in one tile, so that adding a grid changes no result.
        outcomes: outcomes of the trials that need not run again, by trial id.
        failures: messages of the failed trials that need not run again, by trial id.
        best: the best of `outcomes`.
        continued: by trial id, the trial with fewer epochs whose checkpoint it may continue.
        crashed: whether an attempt crashed; tiles then run one at a time, so that a second crash
            shows which tile causes it.
    """

    tiles: Sequence[TileIds] = ()
    ages: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    best: FinishedTrial | None = None
    continued: Mapping[str, str] = field(default_factory=dict)
    crashed: bool = False

    def have_ended(self, trials: Sequence[Trial]) -> bool:
        """Return whether none of `trials` needs to run."""
        return all(trial.id in self.outcomes or trial.id in self.failures for trial in trials)

    def divide(
        self, group: Sequence[Trial], plan: Callable[[Sequence[Trial]], list[Tile]]
    ) -> tuple[list[Tile], list[Tile]]:
        """Return the earlier tiles of a group as they were, and new tiles of its other trials.

        Args:
            group: trials that may run together.
            plan: divides some of them into tiles.
        """
        others = {trial.id: trial for trial in group}
        earlier = [
            tuple(others[trial_id] for trial_id in tile)
            for tile in self.tiles
            if others.keys() >= set(tile)
        ]
        for trial in (trial for tile in earlier for trial in tile):
            del others[trial.id]
        by_age: dict[int, list[Trial]] = {}
        for trial in others.values():
            by_age.setdefault(self.ages.get(trial.id, 0), []).append(trial)
        return earlier, [tile for age in sorted(by_age) for tile in plan(by_age[age])]


def reload_trials(
    events: Sequence[Event], trials: Sequence[Trial], *, scores: Path, ages: Mapping[str, int]
) -> PreviousTrials:
    """Return the results of earlier attempts from the journal of a run and its scores.

    Args:
        events: events of all attempts.
        trials: trials of the resumed run in canonical order.
        scores: folder of scores and weights.
        ages: as in `PreviousTrials`.
    """
    latest = latest_attempts(events)
    finished = {event.trial: event for event in events_of_type(latest, TrialFinished)}
    all_outcomes = {
        trial_id: outcome
        for trial_id, event in finished.items()
        if (outcome := _load_outcome(event, scores))
    }
    all_failures = _collect_failures(events, latest)
    tiles = [tuple(tile) for event in events_of_type(events, TilesPlanned) for tile in event.tiles]
    ended = all_outcomes.keys() | all_failures.keys()
    ended_tiles = [tile for tile in tiles if ended >= set(tile)]
    while True:
        taken = {trial_id for tile in ended_tiles for trial_id in tile}
        outcomes = {t.id: all_outcomes[t.id] for t in trials if t.id in taken & all_outcomes.keys()}
        best = None
        if outcomes:
            winner = rank_outcomes(list(outcomes.values()))[0]
            best = load_finished_trial(scores, winner, finished[winner.trial])
            if best is None:  # its weights may be needed, so its tile runs again
                ended_tiles = [tile for tile in ended_tiles if winner.trial not in tile]
                continue
        return PreviousTrials(
            tiles,
            ages,
            outcomes,
            failures={t: reason for t, reason in all_failures.items() if t in taken},
            best=best,
            continued=_find_continued_trials(events, trials),
            crashed=any(isinstance(event, ProcessCrashed) for event in events),
        )


def _collect_failures(events: Sequence[Event], latest: Sequence[Event]) -> dict[str, str]:
    """Return the messages of failed trials that do not run again, by trial id.

    Args:
        events: events of all attempts.
        latest: events of the latest attempt of each trial.
    """
    finishes = [index for index, event in enumerate(events) if isinstance(event, RunFinished)]
    before_finish = events[: finishes[-1]] if finishes else ()
    closed = {
        event.trial for event in before_finish if isinstance(event, (TrialFinished, TrialFailed))
    }
    return {
        event.trial: event.reason
        for event in events_of_type(latest, TrialFailed)
        if event.cause in PERMANENT_CAUSES or event.trial in closed
    }


def _find_continued_trials(events: Sequence[Event], trials: Sequence[Trial]) -> dict[str, str]:
    """Return for each trial the longest started trial that differs in having fewer epochs alone."""
    started = {event.trial: event.hyperparameters for event in events_of_type(events, TrialStarted)}
    continued = {}
    for trial in trials:
        own, epochs = to_json(trial.hyperparameters), trial.settings.epochs
        shorter = dict[int, str]()
        for trial_id, other in started.items():
            trained = other["epochs"]
            differs_in_epochs = {**other, "epochs": epochs} == own
            if differs_in_epochs and isinstance(trained, int) and trained < epochs:
                shorter[trained] = trial_id
        if shorter:
            continued[trial.id] = shorter[max(shorter)]
    return continued


def _load_outcome(event: TrialFinished, scores: Path) -> Outcome | None:
    """Return the outcome of a trial; None where its scores are missing or disagree with `event`."""
    validation = find_validation_scores(scores / f"{event.trial}.npz", event)
    if validation is None:
        return None
    return Outcome(
        trial=event.trial,
        best_epoch=event.best_epoch,
        epochs_trained=event.epochs_trained,
        cost=event.cost,
        train_loss=event.train_loss,
        train_accuracy=event.train_accuracy,
        val_loss=event.val_loss,
        val_accuracy=event.val_accuracy,
        seconds=event.seconds,
        correct=validation.correct_at_best,
        stopped_by_halving=event.end_reason == "halving",
    )
