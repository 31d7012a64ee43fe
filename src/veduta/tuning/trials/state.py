"""Training history of one trial, independent of its executor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.config.settings import Settings
from veduta.foundations.stopping import gap_exceeds, reaches_threshold, should_stop
from veduta.networks.heads import HeadNetwork
from veduta.training.loop import Epoch
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import Trial


class Stopping:
    """Says after each epoch whether a trial stops, and by which rule; one that is unset never.

    `stop_at` validation accuracy has reached its value; `stop_gap` training accuracy is further
    above it than that, the gap of the shares of wrong answers; `patience` so many epochs went by
    without a better validation loss.

    Attributes:
        losses: validation loss after each epoch so far, all there is to remember: a trial that goes
            on after an interruption starts with those it had.

    >>> stopping = Stopping(Settings(patience=2))
    >>> for loss in (0.9, 0.8, 0.85, 0.81):
    ...     print(stopping.exhausted(val_loss=loss, train_accuracy=0.7, val_accuracy=0.6))
    None
    None
    None
    patience
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.losses: list[float] = []

    def exhausted(
        self, *, val_loss: float, train_accuracy: float, val_accuracy: float
    ) -> str | None:
        """Take the figures of one more epoch; the name of the first rule that it stops by, if any.

        Args:
            val_loss: on validation images.
            train_accuracy: share of right answers on training images, plain, in evaluation mode.
            val_accuracy: likewise on validation images.
        """
        self.losses.append(val_loss)
        at, gap, patience = (
            getattr(self._settings, n) for n in ("stop_at", "stop_gap", "patience")
        )
        if at is not None and reaches_threshold(val_accuracy, at):
            return "stop_at"
        if gap is not None and gap_exceeds(1 - train_accuracy, 1 - val_accuracy, gap):
            return "stop_gap"
        if patience is not None and should_stop(self.losses, patience):
            return "patience"
        return None


HALVED = "halving"
"""Why a trial ended that others left behind."""

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
    reason: str = "epochs"  # why it ended, in a word


@dataclass(slots=True)
class Course:
    """The epochs of one trial so far, its best kept whole, and whether it has come to its end.

    The best epoch is the first with the highest validation accuracy.

    Attributes:
        trial: which.
        epochs: figures of every epoch, without logits.
        ended: why it has come to its end, in a word; empty while it goes on.
    """

    trial: Trial
    epochs: list[Epoch] = field(default_factory=list)
    ended: str = ""
    _stopping: Stopping = field(init=False)
    _hits: list[NDArray[np.uint8]] = field(default_factory=list)  # packed: 8 images a byte
    _best: tuple[Epoch, Weights] | None = None

    def __post_init__(self) -> None:
        self._stopping = Stopping(self.trial.settings)

    def take(self, epoch: Epoch, hits: NDArray[np.bool_], weights: Callable[[], Weights]) -> None:
        """Take one more epoch.

        Args:
            epoch: its figures; where it is the best so far, its `val_logits` are copied.
            hits: (validation images,) right or wrong.
            weights: gives a copy of the weights after it; asked for where it is the best so far.
        """
        if self._best is None or epoch.val_accuracy > self._best[0].val_accuracy:
            logits = epoch.val_logits.clone(memory_format=torch.contiguous_format)
            self._best = replace(epoch, val_logits=logits), weights()
        self._count(replace(epoch, val_logits=epoch.val_logits.new_empty(0)), np.packbits(hits))

    def _count(self, epoch: Epoch, hits: NDArray[np.uint8]) -> None:
        self.epochs.append(epoch)
        self._hits.append(hits)
        reason = self._stopping.exhausted(
            val_loss=epoch.val_loss,
            train_accuracy=epoch.train_accuracy,
            val_accuracy=epoch.val_accuracy,
        )
        last = epoch.number >= self.trial.settings.epochs
        self.ended = reason or ("epochs" if last else "")

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All of it, for a checkpoint: figures as plain JSON values, and tensors."""
        if self._best is None:
            return {"epochs": []}, {}
        epoch, weights = self._best
        figures = [
            {f.name: getattr(one, f.name) for f in fields(one) if f.name != "val_logits"}
            for one in self.epochs
        ]
        tensors = {f"best.{name}": tensor for name, tensor in weights.items()}
        tensors |= {"best_logits": epoch.val_logits, "hits": torch.from_numpy(np.stack(self._hits))}
        return {"epochs": figures, "best": epoch.number}, tensors

    def restore(self, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Stand where another course stood when `state` was called."""
        none = torch.empty(0)
        epochs = [Epoch(**one, val_logits=none) for one in progress["epochs"]]
        for epoch, hits in zip(epochs, tensors.get("hits", none), strict=True):
            self._count(epoch, hits.numpy())
        if epochs:
            best = replace(epochs[progress["best"] - 1], val_logits=tensors["best_logits"])
            names = [name for name in tensors if name.startswith("best.")]
            self._best = best, {name.removeprefix("best."): tensors[name] for name in names}

    def outcome(self, numbers: int) -> Outcome:
        """What has come of it so far; `numbers` is how many its network trains."""
        epoch, _ = self._kept()
        hits = np.unpackbits(self._hits[epoch.number - 1], count=len(epoch.val_logits))
        return Outcome(
            trial=self.trial.id,
            best_epoch=epoch.number,
            epochs=len(self.epochs),
            cost=numbers * len(self.epochs),
            train_loss=epoch.train_loss,
            train_accuracy=epoch.train_accuracy,
            val_loss=epoch.val_loss,
            val_accuracy=epoch.val_accuracy,
            seconds=sum(one.seconds for one in self.epochs),
            hits=hits.view(np.bool_),
            stopped=self.ended == HALVED,
        )

    def finished(self, network: HeadNetwork) -> Finished:
        """What came of it; `network`, one of its kind, gets the weights of its best epoch."""
        epoch, weights = self._kept()
        network.load_state_dict(weights, assign=True)  # they are copies already
        network.to(memory_format=torch.channels_last)  # those of a checkpoint are not
        packed, images = np.stack(self._hits), len(epoch.val_logits)
        hits = np.unpackbits(packed, axis=1, count=images).view(np.bool_)
        outcome = self.outcome(network.trained)
        return Finished(outcome, network, epoch.val_logits, hits, self.ended)

    def _kept(self) -> tuple[Epoch, Weights]:
        assert self._best is not None, "a trial has at least one epoch"  # noqa: S101
        return self._best
