"""When a training is saved, and from where it goes on: the rules around a trial's checkpoints."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from veduta.runs.checkpoints import Checkpoint, Checkpoints
from veduta.search.course import Course
from veduta.training.loop import Training
from veduta.training.snapshot import restore, state_of

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
            tensors = _part(found.tensors, f"{number}.")
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


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
