"""Epochs as they come: counted for whoever waits, recorded for good."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from veduta.runs.journal import Journal
from veduta.search.space import Trial
from veduta.training.loop import Epoch


@dataclass(slots=True)
class Meter:
    """Progress in epochs; what a trial that stopped early leaves out counts as done."""

    left: dict[str, int]  # epochs by trial
    show: Callable[[int, int], None]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(self.left.values())

    def epoch(self, trial: str) -> None:
        """One more epoch of a trial."""
        self.left[trial] -= 1
        self.show(self.total - sum(self.left.values()), self.total)

    def ended(self, trial: str) -> None:
        """A trial that will have no more."""
        self.left[trial] = 0

    def done(self) -> None:
        """Everything."""
        self.show(self.total, self.total)


def record_epoch(journal: Journal, trial: Trial, epoch: Epoch) -> None:
    """Put one epoch into the journal."""
    journal.append(
        "epoch",
        trial=trial.id,
        epoch=epoch.number,
        lr_now=epoch.lr_now,
        train_loss=epoch.train_loss,
        train_accuracy=epoch.train_accuracy,
        val_loss=epoch.val_loss,
        val_accuracy=epoch.val_accuracy,
        seconds=epoch.seconds,
        time=time.time(),
    )
