"""What earlier attempts of a run left, so that it can go on: tiles cut, trials ended, the best one.

A tile gives the same bits whenever it is run. So one whose trials have all ended is taken over from
the journal and the files beside it, and any other is run again whole. Of trials that failed,
those have ended that would fail again; the others are tried again, until the run has come to its
end: after that its rows stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from veduta.config.settings import plain
from veduta.runs.journal import Event, latest_attempts
from veduta.tuning.trials.groups import Tile
from veduta.tuning.trials.progress import CRASHED, DIVERGED, LASTING
from veduta.tuning.trials.selection import Outcome, best_first
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import HALVED, Finished
from veduta.tuning.trials.store import read_finished, read_scores

Names = tuple[str, ...]
"""Of the trials of a tile."""


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier attempts left; of a new run, nothing.

    Attributes:
        tiles: as they were cut; new trials stand in tiles of their own.
        ages: by trial, with which of the run's grids it came; those that came later are not mixed
            with earlier ones, so that what came earlier does not depend on when it was run.
        outcomes: of the trials that need not run again, by name.
        failed: reasons of those that failed, by name.
        best: the best of `outcomes`, whole.
        continued: by trial, the one that it goes on from: the same with fewer epochs.
        crashed: whether an attempt crashed: tiles run one at a time, so that it shows at which.
    """

    tiles: Sequence[Names] = ()
    ages: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    best: Finished | None = None
    continued: Mapping[str, str] = field(default_factory=dict)
    crashed: bool = False

    def ended(self, trials: Sequence[Trial]) -> bool:
        """Whether none of `trials` needs to run."""
        return all(trial.id in self.outcomes or trial.id in self.failed for trial in trials)

    def cut(
        self, group: Sequence[Trial], cut: Callable[[Sequence[Trial]], list[Tile]]
    ) -> tuple[list[Tile], list[Tile]]:
        """The tiles of a group: those of earlier attempts as they were, and fresh ones of the rest.

        Args:
            group: trials that may run together.
            cut: makes tiles of some of them.
        """
        named = {trial.id: trial for trial in group}
        old = [
            tuple(named[name] for name in tile) for tile in self.tiles if named.keys() >= set(tile)
        ]
        for trial in (trial for tile in old for trial in tile):
            del named[trial.id]
        by_age: dict[int, list[Trial]] = {}
        for trial in named.values():
            by_age.setdefault(self.ages.get(trial.id, 0), []).append(trial)
        return old, [tile for age in sorted(by_age) for tile in cut(by_age[age])]


def reload(
    events: Sequence[Event], trials: Sequence[Trial], *, scores: Path, ages: Mapping[str, int]
) -> Past:
    """What the journal of a run and its folder of scores tell of earlier attempts.

    Args:
        events: of all attempts.
        trials: of the run now, in canonical order.
        scores: the folder.
        ages: as in `Past`.
    """
    found = [e for e in latest_attempts(events) if e["event"] == "trial finished"]
    ends = {e["trial"]: e for e in found if e["status"] == "finished"}
    closed = {e["trial"] for e in _closed(events) if e["event"] == "trial finished"}
    failed = {
        e["trial"]: str(e["reason"])
        for e in found
        if e["status"] == "failed" and (e.get("cause", DIVERGED) in LASTING or e["trial"] in closed)
    }
    outcomes = {name: outcome for name, e in ends.items() if (outcome := _outcome(e, scores))}
    tiles = [tuple(tile) for e in events if e["event"] == "tiles" for tile in e["tiles"]]
    whole = [tile for tile in tiles if all(name in outcomes or name in failed for name in tile)]
    while True:
        taken = {name for tile in whole for name in tile}
        left = [outcomes[t.id] for t in trials if t.id in taken and t.id in outcomes]
        best = None
        if left:
            top = best_first(left)[0]
            best = read_finished(scores, top, ends[top.trial])
            if best is None:  # it may win, so it must be whole: its tile is run again
                whole = [tile for tile in whole if top.trial not in tile]
                continue
        reasons = {name: why for name, why in failed.items() if name in taken}
        taken_over = {outcome.trial: outcome for outcome in left}
        crashed = any(event["event"] == CRASHED for event in events)
        return Past(tiles, ages, taken_over, reasons, best, _continued(events, trials), crashed)


def _closed(events: Sequence[Event]) -> Sequence[Event]:
    """The events up to the last at which the run had come to its end."""
    ends = [place for place, event in enumerate(events) if event["event"] == "end"]
    return events[: ends[-1]] if ends else ()


def _continued(events: Sequence[Event], trials: Sequence[Trial]) -> dict[str, str]:
    """For each trial the longest of those begun before it that had fewer epochs, all else equal."""
    begun = {e["trial"]: dict(e["parameters"]) for e in events if e["event"] == "trial started"}
    found = {}
    for trial in trials:
        own = plain(trial.parameters)
        shorter = {
            known["epochs"]: name
            for name, known in begun.items()
            if {**known, "epochs": own["epochs"]} == own and known["epochs"] < own["epochs"]
        }
        if shorter:
            found[trial.id] = shorter[max(shorter)]
    return found


def _outcome(event: Event, scores: Path) -> Outcome | None:
    """What a trial came to, where its scores are there and agree."""
    kept = read_scores(scores / f"{event['trial']}.npz", event)
    if kept is None:
        return None
    figures = {name: event[name] for name in (*Outcome.FIGURES, "cost")}
    stopped = event["ended_by"] == HALVED
    hits = kept[1][event["best_epoch"] - 1]
    return Outcome(trial=event["trial"], hits=hits, stopped=stopped, **figures)
