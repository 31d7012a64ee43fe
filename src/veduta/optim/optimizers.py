"""The optimisers, by name: torch.optim's own, with what each of them takes from the settings.

A setting that an optimiser does not use is no hyper-parameter of a trial that runs with it: a grid
over `optimizer` and `momentum` has one trial, not several, for adam.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from veduta.config.settings import Settings
from veduta.optim.penalties import penalise_l1, penalised

Group = dict[str, Any]

RateGroup = tuple[float, Sequence[nn.Parameter]]
"""Parameters that train at a share of the learning rate, and that share."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One entry: how it is built, and which settings it uses besides lr and weight_decay."""

    build: Callable[[list[Group], Settings], torch.optim.Optimizer]
    uses: frozenset[str] = field(default_factory=frozenset)


def _sgd(groups: list[Group], settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups, settings.lr, momentum=settings.momentum, nesterov=settings.nesterov
    )


OPTIMIZERS: dict[str, Optimizer] = {
    "adagrad": Optimizer(lambda groups, s: torch.optim.Adagrad(groups, s.lr)),
    "adam": Optimizer(
        lambda groups, s: torch.optim.Adam(groups, s.lr, betas=s.betas), frozenset({"betas"})
    ),
    "adamw": Optimizer(
        lambda groups, s: torch.optim.AdamW(groups, s.lr, betas=s.betas), frozenset({"betas"})
    ),
    "rmsprop": Optimizer(lambda groups, s: torch.optim.RMSprop(groups, s.lr)),
    "sgd": Optimizer(_sgd, frozenset({"momentum", "nesterov"})),
}

USED_BY_SOME: frozenset[str] = frozenset().union(*(entry.uses for entry in OPTIMIZERS.values()))
"""The settings that belong to some optimisers only."""


def build_optimizer(groups: Sequence[RateGroup], settings: Settings) -> torch.optim.Optimizer:
    """The optimiser that `settings` name, over groups of parameters with rates of their own.

    `weight_decay` is the L2 penalty of the report's equation (38a). With `penalise=weights` it acts
    on weights: matrices and kernels, not biases, nor the scale and shift of batch normalisation;
    with `penalise=all` on these too. torch adds its gradient to that of the loss (coupled) in all
    but adamw, where the decay acts on the weights themselves. `l1` is that of (38b), over the same
    parameters, coupled in all.

    Args:
        groups: scale and parameters; the learning rate of a group is its scale times the rate.
        settings: of the trial.

    Returns:
        An optimiser whose groups, in the order of `groups`, each remember their `scale`.
    """
    chosen: list[nn.Parameter] = []
    made: list[Group] = []
    for scale, parameters in groups:
        weights = penalised(parameters, settings.penalise)
        ids = {id(weight) for weight in weights}
        rest = [parameter for parameter in parameters if id(parameter) not in ids]
        shared = {"lr": settings.lr * scale, "scale": scale}
        made.append({"params": weights, "weight_decay": settings.weight_decay, **shared})
        made.append({"params": rest, "weight_decay": 0.0, **shared})
        chosen += weights
    entry = OPTIMIZERS[settings.optimizer]
    optimizer = entry.build([group for group in made if group["params"]], settings)
    if settings.l1:
        penalise_l1(optimizer, chosen, settings.l1)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Let the next step have the learning rate `lr`, times the scale of each group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def faults_of(settings: Settings) -> list[str]:
    """What the settings of an optimiser must not be together."""
    if settings.optimizer == "sgd" and settings.nesterov and settings.momentum == 0:
        return ["nesterov needs momentum above 0; got momentum 0: give --momentum 0.9, say"]
    return []
