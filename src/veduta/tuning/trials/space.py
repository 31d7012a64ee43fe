"""The trials of a grid (report, equation 41), and the groups and tiles that are trained together.

The id of a trial is a hash of those hyperparameters that differ from their defaults, and the order
of trials depends on their hyperparameters alone. A cell therefore has the same id in every
search, regardless of how its grid was written and which other cells the grid has.

Groups and tiles depend on the trials and the shape of their head alone, never on free memory or
measured time, so the same trials always form the same tiles.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from veduta.augment.registry import select_mixing_augmentations
from veduta.config.parsing import Grid, format_value, to_json
from veduta.config.settings import TRIAL_SETTINGS, Settings
from veduta.foundations.search_space import cartesian_product
from veduta.networks.catalogue.registry import find_model
from veduta.networks.heads import HIDDEN_LAYER_SETTINGS
from veduta.optim.optimizers import OPTIMIZER_SETTINGS, OPTIMIZERS

NETWORK_SETTINGS = frozenset({"channels", "pooling", "untied_bias"}) | HIDDEN_LAYER_SETTINGS
"""Settings of convolutional networks; some of them also apply to the hidden layers of a head."""

DEFAULTS = to_json({name: Settings.model_fields[name].default for name in TRIAL_SETTINGS})
"""Default of every hyperparameter; changing one changes the ids of the trials that use it."""

SettingValue: TypeAlias = bool | float | str | tuple[int | float | str, ...] | None
"""Value of a hyperparameter; None also stands for a setting without effect."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One cell of the search space.

    Attributes:
        id: the name of the trial in every file of a run.
        settings: all settings that the trial runs with.
        hyperparameters: values of `TRIAL_SETTINGS`; None where a setting has no effect.
    """

    id: str
    settings: Settings
    hyperparameters: Mapping[str, SettingValue]

    def __str__(self) -> str:
        return self.id


def find_unused_settings(settings: Settings) -> frozenset[str]:
    """Return the names of the settings that have no effect, given the values of the others.

    `head` is always among them: it has no effect beyond the settings that it sets.

    >>> sorted(find_unused_settings(Settings(hidden=(8,), batch_norm=True, freeze=3, views=2)))
    ['channels', 'head', 'momentum', 'nesterov', 'pooling', 'untied_bias']
    """
    unused = {"head"} | OPTIMIZER_SETTINGS - OPTIMIZERS[settings.optimizer].uses
    unused |= NETWORK_SETTINGS - find_model(settings.model).used_options
    unused -= HIDDEN_LAYER_SETTINGS if settings.hidden else frozenset()
    if not settings.batch_norm:
        unused |= {"norm_first"}
    if not settings.hidden:
        unused |= {"dropout_layers"}
    if not settings.trains_backbone:
        unused |= {"freeze_epochs", "backbone_lr_scale"}
    if settings.trains_whole_backbone:
        unused |= {"views"}
    elif not (settings.views or select_mixing_augmentations(settings.augment)):
        unused |= {"augment"}
    return frozenset(unused)


def build_trial(settings: Settings) -> Trial:
    """Return the trial that runs with `settings`."""
    unused = find_unused_settings(settings)
    used = {name: getattr(settings, name) for name in TRIAL_SETTINGS if name not in unused}
    changed = {name: value for name, value in to_json(used).items() if value != DEFAULTS[name]}
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()
    hyperparameters = {name: used.get(name) for name in TRIAL_SETTINGS}
    # the leading letter keeps CSV readers from parsing an id as a number
    return Trial(f"t{digest[:9]}", settings, hyperparameters)


def expand_grid(settings: Settings, grid: Grid) -> list[Settings]:
    """Return the settings of every cell of a grid; the grid overrides values of `settings`."""
    return [settings.model_copy(update=cell) for cell in cartesian_product(grid)]


def build_trials(cells: Sequence[Settings]) -> list[Trial]:
    """Return the distinct trials of `cells` in canonical order.

    Two cells that differ only in settings without effect are one trial.
    """
    distinct = {trial.id: trial for trial in map(build_trial, cells)}
    return sorted(distinct.values(), key=_canonical_key)


def find_varied_settings(trials: Sequence[Trial]) -> list[str]:
    """Return the names of the hyperparameters that differ between trials."""
    return [
        name
        for name in TRIAL_SETTINGS
        if len({format_value(trial.hyperparameters[name]) for trial in trials}) > 1
    ]


def describe_differences(trials: Sequence[Trial]) -> dict[str, str]:
    """Return the varied hyperparameters of each trial as text, by trial id.

    >>> cells = [Settings(lr=lr) for lr in (0.1, 0.01)]
    >>> list(describe_differences([build_trial(cell) for cell in cells]).values())
    ['lr 0.1', 'lr 0.01']
    """
    names = find_varied_settings(trials)
    return {
        trial.id: ", ".join(
            f"{name} {format_value(trial.hyperparameters[name])}"
            for name in names
            if trial.hyperparameters[name] is not None
        )
        for trial in trials
    }


def _canonical_key(trial: Trial) -> list[tuple[int, SettingValue]]:
    """Return a sort key: None, then numbers, then strings; `freeze` may be either of the latter."""
    return [
        (0, 0) if value is None else (1 + isinstance(value, str), value)
        for value in trial.hyperparameters.values()
    ]


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
"""Settings of which the fused executor supports a single value, with that value."""

MAX_TILE_WEIGHTS = 2**21
"""Maximum number of weights in a tile: with gradients and two moments in float32, 32 MiB.

Training an MLP with 330,000 weights in tiles of six trials takes 93 % of the CPU time of tiles of
three; larger tiles would save at most 5 %.
"""

SPLIT_WEIGHTS = MAX_TILE_WEIGHTS // 2
"""Number of weights above which a group forms at least two tiles, to use a second core."""

MAX_TILE_TRIALS = 32
"""Maximum number of trials in a tile. Larger tiles would save little (3.3 ms per epoch and trial at
64 trials, 3.9 at 32, 5.3 at 16) and leave a second core idle."""


def uses_fused_executor(settings: Settings) -> bool:
    """Return whether the fused executor trains a trial, rather than the serial executor.

    The answer is the same for all trials of a group. Settings without effect are ignored. With
    successive halving, trials pause and continue, which only the serial executor supports.

    >>> [uses_fused_executor(s) for s in (Settings(l1=1e-5), Settings(clip=1.0))]
    [True, False]
    """
    unused = find_unused_settings(settings)
    return not settings.uses_halving and all(
        name in unused or getattr(settings, name) == value for name, value in FUSED_VALUES.items()
    )


def group_trials(trials: Sequence[Trial]) -> list[tuple[Trial, ...]]:
    """Return groups of trials that differ only in `SCALAR_SETTINGS`, in the order of `trials`."""
    groups: dict[tuple[SettingValue, ...], list[Trial]] = {}
    for trial in trials:
        shared = [trial.hyperparameters[n] for n in TRIAL_SETTINGS if n not in SCALAR_SETTINGS]
        groups.setdefault((*shared, trial.settings.seed), []).append(trial)
    return [tuple(group) for group in groups.values()]


def plan_tiles(group: Sequence[Trial], parameters: int) -> list[Tile]:
    """Divide a group into tiles.

    Trials of the serial executor are tiles of one trial. Others form the fewest tiles of at most
    `MAX_TILE_TRIALS` trials and `MAX_TILE_WEIGHTS` weights, of nearly equal size; several trials
    with more than `SPLIT_WEIGHTS` weights together form at least two tiles.

    Args:
        group: all or some trials of one group.
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
