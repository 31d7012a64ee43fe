"""Saving the training of a trial to checkpoints, and restoring it from them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from veduta.runs.checkpoints import Checkpoint, Checkpoints
from veduta.training.loop import EpochClock, Training
from veduta.tuning.trials.state import TrialState, select_tensors

TIME_RATIO = 20
"""The time between two checkpoints is at least this multiple of the time that writing one takes."""


def collect_training_state(training: Training) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Return the state of a training between two steps: JSON values, and tensors by name."""
    tensors = {f"network.{name}": t for name, t in training.network.state_dict().items()}
    for index, entries in training.optimizer.state_dict()["state"].items():
        entry_tensors = {name: t for name, t in entries.items() if isinstance(t, Tensor)}
        tensors |= {f"optimizer.{index}.{name}": t for name, t in entry_tensors.items()}
    progress: dict[str, object] = {
        "epoch": training.epoch,
        "step": training.step,
        "lengths": training.gradient_norm_sum,
        "seconds": training.clock.seconds,
    }
    if training.average:
        average = training.average.module.state_dict()
        tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
        progress["averaged"] = int(training.average.n_averaged)
    return progress, tensors


def restore_training(training: Training, checkpoint: Checkpoint) -> None:
    """Restore the state that `collect_training_state` returned into a new training."""
    progress, tensors = checkpoint.progress, checkpoint.tensors
    training.network.load_state_dict(select_tensors(tensors, "network."))
    if training.average:
        training.average.module.load_state_dict(select_tensors(tensors, "average."))
        training.average.n_averaged.fill_(progress["averaged"])
    parameters = [p for group in training.optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, saved in select_tensors(tensors, "optimizer.").items():
        index, _, entry = name.partition(".")
        parameter = parameters[int(index)]
        is_moment = saved.shape == parameter.shape  # moments have the memory layout of the weights
        tensor = torch.empty_like(parameter).copy_(saved) if is_moment else saved
        state.setdefault(int(index), {})[entry] = tensor
    training.optimizer.load_state_dict({**training.optimizer.state_dict(), "state": state})
    training.epoch, training.step = progress["epoch"], progress["step"]
    training.gradient_norm_sum = progress["lengths"]
    training.clock = EpochClock(progress["seconds"])


@dataclass(slots=True)
class Checkpointer:
    """Writes and reads the checkpoints of one trial.

    Attributes:
        checkpoints: checkpoints of the trial; None disables them.
        shorter_trial: checkpoints of the same trial with fewer epochs, from which it continues if
            it has none of its own.
        interval_seconds: minimum time between two checkpoints; longer if writing one takes long.
    """

    checkpoints: Checkpoints | None = None
    shorter_trial: Checkpoints | None = None
    interval_seconds: float = 30.0
    _saved_at: float = field(default_factory=time.monotonic)
    _writing_seconds: float = 0.0

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint."""
        wait = max(self.interval_seconds, TIME_RATIO * self._writing_seconds)
        return self.checkpoints is not None and time.monotonic() - self._saved_at >= wait

    def save(self, state: TrialState, trainings: Sequence[Training]) -> None:
        """Write a checkpoint now."""
        if self.checkpoints is None:
            return
        started = time.monotonic()
        trial_progress, tensors = state.collect()
        training_progress = list[dict[str, object]]()
        for number, training in enumerate(trainings):
            progress, saved = collect_training_state(training)
            training_progress.append(progress)
            tensors |= {f"{number}.{name}": tensor for name, tensor in saved.items()}
        self.checkpoints.save({"trial": trial_progress, "trainings": training_progress}, tensors)
        self._saved_at = time.monotonic()
        self._writing_seconds = self._saved_at - started

    def load(self, state: TrialState, trainings: Sequence[Training]) -> None:
        """Restore the newest checkpoint into a new state and new trainings, if there is one."""
        checkpoint = self._find_newest()
        if checkpoint is None:
            return
        progress, tensors = checkpoint.progress, checkpoint.tensors
        state.restore(Checkpoint(progress["trial"], tensors))
        for number, training in enumerate(trainings):
            saved = select_tensors(tensors, f"{number}.")
            restore_training(training, Checkpoint(progress["trainings"][number], saved))

    def finish(self) -> None:
        """Keep only the newest checkpoint, from which a trial with more epochs can continue."""
        if self.checkpoints is not None:
            self.checkpoints.keep_newest()

    def _find_newest(self) -> Checkpoint | None:
        for checkpoints in (self.checkpoints, self.shorter_trial):
            if checkpoints is not None and (newest := checkpoints.load_newest()) is not None:
                return newest
        return None
