"""When a training is saved to a checkpoint, and how it continues from one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from veduta.runs.checkpoints import Checkpoint, Checkpoints
from veduta.training.loop import Clock, Training
from veduta.tuning.trials.state import Course


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
    training.network.load_state_dict(_snapshot_part(tensors, "network."))
    if training.average:
        training.average.module.load_state_dict(_snapshot_part(tensors, "average."))
        training.average.n_averaged.fill_(progress["averaged"])
    parameters = [p for group in training.optimizer.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _snapshot_part(tensors, "optimizer.").items():
        place, _, entry = name.partition(".")
        like = parameters[int(place)]
        if tensor.shape == like.shape:  # in the order of the parameter in memory, as it was made
            tensor = torch.empty_like(like).copy_(tensor)  # noqa: PLW2901
        entries.setdefault(int(place), {})[entry] = tensor
    whole = training.optimizer.state_dict()
    training.optimizer.load_state_dict({**whole, "state": entries})
    training.epoch, training.step = progress["epoch"], progress["step"]
    training.lengths, training.clock = progress["lengths"], Clock(progress["seconds"])


def _snapshot_part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    return dict(found)


SHARE = 20  # a checkpoint may take so small a part of the time: 5 %


@dataclass(slots=True)
class Keeper:
    """Keeps the checkpoints of one trial.

    Attributes:
        kept: its own; None keeps nothing.
        origin: those of the same trial with fewer epochs, from which it goes on where it has none.
        every: seconds between two; more where writing one takes long.
    """

    kept: Checkpoints | None = None
    origin: Checkpoints | None = None
    every: float = 30.0
    _saved: float = field(default_factory=time.monotonic)
    _took: float = 0.0

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        wait = max(self.every, SHARE * self._took)
        return self.kept is not None and time.monotonic() - self._saved >= wait

    def save(self, course: Course, trainings: Sequence[Training]) -> None:
        """Write a checkpoint now."""
        if self.kept is None:
            return
        started = time.monotonic()
        figures, tensors = course.state()
        states: list[dict[str, Any]] = []
        for number, training in enumerate(trainings):
            progress, found = state_of(training)
            states.append(progress)
            tensors |= {f"{number}.{name}": tensor for name, tensor in found.items()}
        self.kept.save({"course": figures, "trainings": states}, tensors)
        self._saved = time.monotonic()
        self._took = self._saved - started

    def load(self, course: Course, trainings: Sequence[Training]) -> None:
        """Let fresh ones stand where the newest checkpoint says; nothing where there is none."""
        found = self._newest()
        if found is None:
            return
        course.restore(found.progress["course"], found.tensors)
        for number, training in enumerate(trainings):
            tensors = _checkpoint_part(found.tensors, f"{number}.")
            restore(training, found.progress["trainings"][number], tensors)

    def ended(self) -> None:
        """Keep what a longer training would go on from."""
        if self.kept is not None:
            self.kept.keep_last()

    def _newest(self) -> Checkpoint | None:
        for place in (self.kept, self.origin):
            if place is not None and (found := place.newest()) is not None:
                return found
        return None


def _checkpoint_part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
