"""From a grid to trials (report, equation 41), each with a name that outlives the grid.

A trial is named by a hash of its hyper-parameters alone, and trials stand in an order that depends
on nothing but them; so the same cell has the same name in every search, however the grid was
written down and whatever else is in it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from veduta.augment.registry import select_mixing_augmentations
from veduta.config.parsing import Grid
from veduta.config.settings import OF_A_TRIAL, Settings, as_text, plain
from veduta.foundations.search_space import cartesian_product
from veduta.networks.catalogue.registry import find_model
from veduta.networks.heads import ONLY_HIDDEN
from veduta.optim.optimizers import OPTIMIZER_SETTINGS, OPTIMIZERS

OF_A_NETWORK = frozenset({"channels", "pooling", "untied_bias"}) | ONLY_HIDDEN
"""Settings of convolutions, some of them of a head's hidden layers too."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One cell of the search space: its name and the settings it runs with."""

    id: str
    settings: Settings
    parameters: Mapping[str, Any]  # of OF_A_TRIAL; None where the trial does not use it

    def __str__(self) -> str:
        return self.id


def unused(settings: Settings) -> frozenset[str]:
    """The settings that have no effect on a trial with these others.

    A preset of the head is one of them: it is what it sets.

    >>> sorted(unused(Settings(hidden=(8,), batch_norm=True, freeze=3, views=2)))
    ['channels', 'head', 'momentum', 'nesterov', 'pooling', 'untied_bias']
    """
    idle = {"head"} | OPTIMIZER_SETTINGS - OPTIMIZERS[settings.optimizer].uses
    idle |= OF_A_NETWORK - find_model(settings.model).uses
    idle -= ONLY_HIDDEN if settings.hidden else frozenset()
    if not settings.batch_norm:
        idle |= {"norm_first"}
    if not settings.hidden:
        idle |= {"dropout_layers"}
    if settings.freeze == "all":
        idle |= {"freeze_epochs", "backbone_lr_scale"}
    if settings.freeze == "none":
        idle |= {"views"}
    elif not (settings.views or select_mixing_augmentations(settings.augment)):
        idle |= {"augment"}
    return frozenset(idle)


def trial_of(settings: Settings) -> Trial:
    """The trial that runs with `settings`."""
    idle = unused(settings)
    parameters = {n: None if n in idle else getattr(settings, n) for n in OF_A_TRIAL}
    text = json.dumps(plain(parameters), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Trial(f"t{digest[:9]}", settings, parameters)  # a letter first: it is no number


def cells(settings: Settings, grid: Grid) -> list[Settings]:
    """The settings of every cell of the grid; what it does not vary is as in `settings`."""
    return [settings.model_copy(update=cell) for cell in cartesian_product(grid)]


def trials(settings: list[Settings]) -> list[Trial]:
    """The distinct trials of some cells, in canonical order.

    Two cells that differ only in what neither uses are one trial.
    """
    distinct = {trial.id: trial for trial in map(trial_of, settings)}
    return sorted(distinct.values(), key=_canonical)


def varied(found: list[Trial]) -> list[str]:
    """The hyper-parameters in which trials differ."""
    return [n for n in OF_A_TRIAL if len({as_text(t.parameters[n]) for t in found}) > 1]


def differences(found: list[Trial]) -> dict[str, str]:
    """By trial, what of it varies, in words.

    >>> list(differences([trial_of(Settings(lr=lr)) for lr in (0.1, 0.01)]).values())
    ['lr 0.1', 'lr 0.01']
    """
    names = varied(found)
    return {
        trial.id: ", ".join(
            f"{name} {as_text(trial.parameters[name])}"
            for name in names
            if trial.parameters[name] is not None
        )
        for trial in found
    }


def _canonical(trial: Trial) -> list[tuple[int, Any]]:
    """Missing values before numbers before words: `freeze` may be a number or `all`."""
    return [(0, 0) if v is None else (1 + isinstance(v, str), v) for v in trial.parameters.values()]
