"""What a trial comes to, epoch by epoch, whichever executor trains it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.models.heads import HeadNetwork
from veduta.search.selection import Outcome
from veduta.search.space import Trial
from veduta.training.loop import Epoch
from veduta.training.stopping import Stopping

Weights = dict[str, Tensor]
"""As in `HeadNetwork.state_dict()`."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial that reached its end: its outcome, and copies of what it was at its best epoch.

    With folds the network is that of the first; the winner is trained anew on all images.
    """

    outcome: Outcome
    network: HeadNetwork
    val_logits: Tensor  # (validation images, classes) at the best epoch
    hits: NDArray[np.bool_]  # (epochs, validation images) right or wrong, epoch by epoch


@dataclass(slots=True)
class Course:
    """The epochs of one trial so far, its best kept whole, and whether it has come to its end.

    The best epoch is the first with the highest validation accuracy.
    """

    trial: Trial
    ended: bool = False
    stopped: str | None = None  # the rule that ended it before its last epoch
    _stopping: Stopping = field(init=False)
    _hits: list[NDArray[np.uint8]] = field(default_factory=list)  # packed: 8 images a byte
    _best: tuple[Epoch, Weights] | None = None
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        self._stopping = Stopping(self.trial.settings)

    def take(self, epoch: Epoch, hits: NDArray[np.bool_], weights: Callable[[], Weights]) -> None:
        """Take one more epoch.

        Args:
            epoch: its figures; where it is the best so far, its `val_logits` are copied.
            hits: (validation images,) right or wrong.
            weights: gives a copy of the weights after it; asked for where it is the best so far.
        """
        self._hits.append(np.packbits(hits))
        self._seconds += epoch.seconds
        if self._best is None or epoch.val_accuracy > self._best[0].val_accuracy:
            logits = epoch.val_logits.clone(memory_format=torch.contiguous_format)
            self._best = replace(epoch, val_logits=logits), weights()
        self.stopped = self._stopping.exhausted(
            val_loss=epoch.val_loss,
            train_accuracy=epoch.train_accuracy,
            val_accuracy=epoch.val_accuracy,
        )
        self.ended = self.stopped is not None or epoch.number >= self.trial.settings.epochs

    def finished(self, network: HeadNetwork) -> Finished:
        """What came of it; `network`, one of its kind, gets the weights of its best epoch."""
        assert self._best is not None, "a trial has at least one epoch"  # noqa: S101
        epoch, weights = self._best
        network.load_state_dict(weights, assign=True)  # they are copies already
        epochs, images = len(self._hits), len(epoch.val_logits)
        hits = np.unpackbits(np.stack(self._hits), axis=1, count=images).view(np.bool_)
        outcome = Outcome(
            trial=self.trial.id,
            best_epoch=epoch.number,
            epochs=epochs,
            cost=network.trained * epochs,
            train_loss=epoch.train_loss,
            train_accuracy=epoch.train_accuracy,
            val_loss=epoch.val_loss,
            val_accuracy=epoch.val_accuracy,
            seconds=self._seconds,
            hits=hits[epoch.number - 1].copy(),
        )
        return Finished(outcome, network, epoch.val_logits, hits)
