"""The serial executor: one trial at a time, each from its own fresh start."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from veduta.models.heads import HeadNetwork, build_head, head_of
from veduta.runs.journal import Journal
from veduta.search.selection import Outcome
from veduta.search.space import Trial
from veduta.training.loop import Epoch, fit, train_epochs
from veduta.training.state import Examples
from veduta.training.stopping import Patience


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial that reached its end: its outcome, and copies of what it was at its best epoch."""

    outcome: Outcome
    network: HeadNetwork
    val_logits: Tensor  # (validation images, classes) at the best epoch
    hits: NDArray[np.bool_]  # (epochs, validation images) right or wrong, epoch by epoch


def run_trial(
    trial: Trial,
    train: Examples,
    *,
    validation: Examples,
    classes: int,
    record: Callable[[Epoch], None],
) -> Finished:
    """Train one trial; every epoch is recorded, the best one is kept as a copy.

    The best epoch is the first with the highest validation accuracy.

    Raises:
        NotFiniteError: the loss ceased to be a finite number.
    """
    started = time.perf_counter()
    settings = trial.settings
    network = build_head(head_of(settings, train.features.shape[1], classes), settings.seed)
    patience = Patience(settings.patience)
    hits: list[NDArray[np.bool_]] = []
    best: tuple[Epoch, HeadNetwork] | None = None
    for epoch in fit(network, train, validation=validation, settings=settings):
        record(epoch)
        hits.append((epoch.val_logits.argmax(1) == validation.labels).numpy())
        if best is None or epoch.val_accuracy > best[0].val_accuracy:
            best = epoch, copy.deepcopy(network)
        if patience.exhausted(epoch.val_loss):
            break
    assert best is not None, "a trial has at least one epoch"  # noqa: S101
    epoch, network = best
    outcome = Outcome(
        trial=trial.id,
        best_epoch=epoch.number,
        epochs=len(hits),
        cost=network.head.parameters * len(hits),
        train_loss=epoch.train_loss,
        train_accuracy=epoch.train_accuracy,
        val_loss=epoch.val_loss,
        val_accuracy=epoch.val_accuracy,
        seconds=time.perf_counter() - started,
        hits=hits[epoch.number - 1],
    )
    return Finished(outcome, network, epoch.val_logits, np.stack(hits))


def refit(trial: Trial, examples: Examples, *, classes: int, epochs: int) -> HeadNetwork:
    """The network of `trial` after exactly `epochs` epochs on `examples`, from a fresh start."""
    settings = trial.settings.model_copy(update={"epochs": epochs})
    network = build_head(head_of(settings, examples.features.shape[1], classes), settings.seed)
    for _ in train_epochs(network, examples, settings):
        pass
    return network


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
