"""Division of trials into groups that may train together, and of groups into tiles.

Groups and tiles depend on the trials and the shape of their head alone, never on free memory or
measured time, so the same trials always form the same tiles.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from veduta.config.settings import TRIAL_SETTINGS, Settings
from veduta.tuning.trials.space import SettingValue, Trial, find_unused_settings

Tile: TypeAlias = tuple[Trial, ...]
"""Trials of one group that one executor trains together, ordered by dropout rate."""

SCALAR_SETTINGS = frozenset(
    {
        *("lr", "weight_decay", "momentum", "betas", "dropout", "epochs", "patience"),
        *("l1", "label_smoothing", "schedule", "warmup", "stop_gap", "stop_at"),
    }
)
"""Hyperparameters that may differ within a group; all trials of a group share the others."""

FUSED_VALUES: Mapping[str, SettingValue] = {
    "freeze": "all",
    "dropout_layers": None,
    "norm_first": True,
    "penalize": "weights",
    "clip": None,
    "ema": 0.0,
    "class_weights": "none",
}
"""The only values that the fused executor supports of these settings."""

MAX_TILE_WEIGHTS = 2**21
"""Maximum number of weights in a tile: with gradients and two moments in float32, 32 MiB.

Training an MLP with 330,000 weights in tiles of six trials takes 0.93 of the CPU time of tiles of
three; larger tiles would save 5 % at most.
"""

SPLIT_WEIGHTS = MAX_TILE_WEIGHTS // 2
"""Number of weights from which a group makes two tiles at least, so that a second core has work."""

MAX_TILE_TRIALS = 32
"""Maximum number of trials in a tile. Larger tiles would save little (3.3 ms per epoch and trial at
64 trials, 3.9 at 32, 5.3 at 16) and leave a second core without work."""


def uses_fused_executor(settings: Settings) -> bool:
    """Return whether the fused executor trains a trial, rather than the serial executor.

    The answer is the same for all trials of a group. Settings without effect do not matter. With
    successive halving, trials pause and continue, which the serial executor alone can do.

    >>> [uses_fused_executor(s) for s in (Settings(l1=1e-5), Settings(clip=1.0))]
    [True, False]
    """
    unused = find_unused_settings(settings)
    return not settings.uses_halving and all(
        name in unused or getattr(settings, name) == value for name, value in FUSED_VALUES.items()
    )


def group_trials(trials: Sequence[Trial]) -> list[tuple[Trial, ...]]:
    """Return groups of trials that differ in `SCALAR_SETTINGS` alone, in the order of `trials`."""
    groups: dict[tuple[SettingValue, ...], list[Trial]] = {}
    for trial in trials:
        shared = [trial.hyperparameters[n] for n in TRIAL_SETTINGS if n not in SCALAR_SETTINGS]
        groups.setdefault((*shared, trial.settings.seed), []).append(trial)
    return [tuple(group) for group in groups.values()]


def plan_tiles(group: Sequence[Trial], parameters: int) -> list[Tile]:
    """Divide a group into tiles.

    Trials of the serial executor are tiles of one trial. Others form the fewest tiles of at most
    `MAX_TILE_TRIALS` trials and `MAX_TILE_WEIGHTS` weights, of nearly equal size; several trials
    with more than `SPLIT_WEIGHTS` weights together form two tiles at least.

    Args:
        group: trials of one group, or some of them.
        parameters: number of parameters in the head of each trial.
    """
    if not uses_fused_executor(group[0].settings):
        return [(trial,) for trial in group]
    ordered = sorted(group, key=lambda trial: trial.settings.dropout)
    count = -(-len(ordered) // min(MAX_TILE_TRIALS, max(1, MAX_TILE_WEIGHTS // parameters)))
    if len(ordered) * parameters > SPLIT_WEIGHTS:
        count = max(count, min(2, len(ordered)))
    edges = [len(ordered) * number // count for number in range(count + 1)]
    return [tuple(ordered[a:b]) for a, b in pairwise(edges)]
