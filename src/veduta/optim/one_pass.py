r"""Updates of one trial's large parameter in one pass over it: torch's own compiled kernels.

Written as tensor operations, an update passes over weights, gradient and moments several times;
where a parameter of one trial alone outgrows the cache, a step waits for that. The kernels behind
torch's `fused=True` pass once, but take numbers where `optim.rules` takes vectors, so they are
called trial by trial: for 256 x 1280 weights adam takes a third of the processor time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from veduta.optim.rules import EPSILON

LARGE = 2**15
"""Numbers of one trial in one parameter from which the call costs less than the passes.

Measured for adam on one core: passes alone take 2.5 times as long for 256 x 1280 weights, calls
alone 4.2 times as long for 64 trials of 6 x 1280; so both forms are needed.
"""


@dataclass(frozen=True, slots=True)
class Single:
    """One parameter of one trial, the gradient and moments of the same shape."""

    trial: int
    w: Tensor
    g: Tensor
    moments: tuple[Tensor, ...]
    penalised: bool


Numbers = Mapping[str, float]
"""The settings of one trial, by name."""


def update(rule: str, single: Single, of: Numbers, step: int) -> None:
    """One update in place.

    Args:
        rule: one of `ONE_PASS`.
        single: what it works on; the gradient is used up.
        of: learning rate of this step, and the other settings of the trial.
        step: from 1.
    """
    if not single.penalised:
        of = {**of, "weight_decay": 0.0}
    elif of["l1"]:
        single.g.add_(single.w.sign(), alpha=of["l1"])
    ONE_PASS[rule](single, of, step)


def _adam(single: Single, of: Numbers, step: int) -> None:
    _adams(single, of, step, decoupled=False)


def _adamw(single: Single, of: Numbers, step: int) -> None:
    _adams(single, of, step, decoupled=True)


def _adams(single: Single, of: Numbers, step: int, *, decoupled: bool) -> None:
    mean, square = single.moments
    adam(
        [single.w],
        [single.g],
        [mean],
        [square],
        [],
        [torch.tensor(float(step - 1))],  # steps before this one
        fused=True,
        decoupled_weight_decay=decoupled,
        amsgrad=False,
        beta1=of["beta_1"],
        beta2=of["beta_2"],
        lr=of["lr"],
        weight_decay=of["weight_decay"],
        eps=EPSILON["adam"],
        maximize=False,
    )


def _sgd(single: Single, of: Numbers, _: int) -> None:
    _sgds(single, of, nesterov=False)


def _nesterov(single: Single, of: Numbers, _: int) -> None:
    _sgds(single, of, nesterov=True)


def _sgds(single: Single, of: Numbers, *, nesterov: bool) -> None:
    sgd(
        [single.w],
        [single.g],
        [single.moments[0] if of["momentum"] else None],
        fused=True,
        weight_decay=of["weight_decay"],
        momentum=of["momentum"],
        lr=of["lr"],
        dampening=0.0,
        nesterov=nesterov,
        maximize=False,
    )


ONE_PASS: dict[str, Callable[[Single, Numbers, int], None]] = {
    "adam": _adam,
    "adamw": _adamw,
    "nesterov": _nesterov,
    "sgd": _sgd,
}
"""By name of the rule; one that is missing has no kernel."""
