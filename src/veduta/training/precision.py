"""Mixed precision, where it is quicker on this machine: a few steps tell, nothing else does.

bf16 halves what has to be moved, and is slower all the same on a processor without instructions for
it. So the run measures once, on the network that it is going to train, journals what it found, and
keeps to it.
"""

import copy
import time
from collections.abc import Callable

import torch

from veduta.config.settings import Settings
from veduta.networks.heads import HeadNetwork
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch, Technique
from veduta.training.step import train_step

STEPS = 3
QUICKER = 0.9  # share of the time in float32 below which bf16 is worth its rounding

Figures = dict[str, float]
"""Seconds a step, by the names `f32_seconds` and `bf16_seconds`."""


def faster_in_bf16(
    network: HeadNetwork,
    batch: Batch,
    settings: Settings,
    *,
    steps: int = STEPS,
    clock: Callable[[], float] = time.perf_counter,
) -> Figures:
    """Seconds of a step in float32 and in bf16, the quickest of a few that take turns.

    Args:
        network: what is going to train; copies of it do here, one a precision.
        batch: as large as a step's.
        settings: of the trial, for the optimiser.
        steps: of each kind that count; one more, before them, warms up.
        clock: seconds.
    """
    seconds: dict[str, list[float]] = {"f32_seconds": [], "bf16_seconds": []}
    types = zip(seconds, (None, torch.bfloat16), strict=True)
    runs = {name: (copy.deepcopy(network).train(), Technique(autocast=of)) for name, of in types}
    optimizers = {
        name: build_optimizer(copied.groups(settings.backbone_lr_scale), settings)
        for name, (copied, _) in runs.items()
    }
    for _ in range(steps + 1):
        for name, (copied, technique) in runs.items():
            started = clock()
            train_step(copied, optimizers[name], batch, noise=None, technique=technique)
            seconds[name].append(clock() - started)
    return {name: min(found[1:]) for name, found in seconds.items()}


def pays(figures: Figures) -> bool:
    """Whether bf16 is quicker by more than a tenth of the time.

    >>> pays({"f32_seconds": 1.0, "bf16_seconds": 0.8})
    True
    """
    return figures["bf16_seconds"] < QUICKER * figures["f32_seconds"]


def settle_precision(
    amp: str, measure: Callable[[], Figures]
) -> tuple[torch.dtype | None, Figures]:
    """What products are computed in, and the figures that decided it; None is float32.

    Args:
        amp: none, bf16, or auto.
        measure: asked where auto leaves it open, such as a call of `faster_in_bf16`.

    >>> settle_precision("bf16", dict)
    (torch.bfloat16, {})
    """
    if amp != "auto":
        return (torch.bfloat16 if amp == "bf16" else None), {}
    figures = measure()
    return (torch.bfloat16 if pays(figures) else None), figures
