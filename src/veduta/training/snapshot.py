"""Where a training stands, as plain values and tensors, and a training that stands there again.

Order, views and dropout noise are functions of seed, epoch and image, so no state of any generator
is among them: weights, their average, the optimiser's moments, and the number of the step.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from veduta.training.loop import Clock, Training


def state_of(training: Training) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """All that a training, between two steps, needs to go on: plain JSON values, and tensors."""
    tensors = {f"network.{name}": t for name, t in training.network.state_dict().items()}
    for place, entries in training.optimizer.state_dict()["state"].items():
        kept = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
        tensors |= {f"optimizer.{place}.{name}": value for name, value in kept.items()}
    progress = {"epoch": training.epoch, "step": training.step, "lengths": training.lengths}
    if training.average:
        tensors |= {
            f"average.{name}": t for name, t in training.average.module.state_dict().items()
        }
        progress["averaged"] = int(training.average.n_averaged)
    return {**progress, "seconds": training.clock.seconds}, tensors


def restore(training: Training, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Let a fresh training stand where another stood when `state_of` was called."""
    training.network.load_state_dict(_part(tensors, "network."))
    if training.average:
        training.average.module.load_state_dict(_part(tensors, "average."))
        training.average.n_averaged.fill_(progress["averaged"])
    parameters = [p for group in training.optimizer.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        place, _, entry = name.partition(".")
        like = parameters[int(place)]
        if tensor.shape == like.shape:  # in the order of the parameter in memory, as it was made
            tensor = torch.empty_like(like).copy_(tensor)  # noqa: PLW2901
        entries.setdefault(int(place), {})[entry] = tensor
    whole = training.optimizer.state_dict()
    training.optimizer.load_state_dict({**whole, "state": entries})
    training.epoch, training.step = progress["epoch"], progress["step"]
    training.lengths, training.clock = progress["lengths"], Clock(progress["seconds"])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    return dict(found)
