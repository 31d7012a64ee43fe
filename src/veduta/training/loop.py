"""The loop over epochs, as a generator: stopping is `break`, logging is a statement.

for epoch in fit(network, train, validation, settings):
    journal.append("epoch", ...)
    if patience.exhausted(epoch.val_loss):
        break
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from veduta.config.settings import Settings
from veduta.models.heads import HeadNetwork
from veduta.optim.optimizers import build_optimizer, set_rate
from veduta.optim.schedules import schedule_of
from veduta.runtime.streams import order, stream
from veduta.training.loss import Batch, technique_of
from veduta.training.state import Examples
from veduta.training.step import (
    dropout_noise,
    evaluation_batch,
    failed_epoch,
    logits_of,
    loss_and_accuracy,
    train_step,
)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to: measured after it, in evaluation mode, on every image."""

    number: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr_now: float
    seconds: float
    val_logits: Tensor  # (validation images, classes) float32


def batches(count: int, batch_size: int) -> list[slice]:
    """Slices of `batch_size` that cover `count` images; a last image alone joins the batch before.

    >>> batches(7, 3)
    [slice(0, 3, None), slice(3, 7, None)]
    """
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]


def shuffled(train: Examples, seed: int, epoch: int) -> NDArray[np.intp]:
    """The order of an epoch (report, section 4.6): a pure function of seed, epoch and content."""
    return order(stream(seed, "order", epoch), train.keys)


def train_epochs(
    network: HeadNetwork, train: Examples, settings: Settings
) -> Iterator[tuple[int, float]]:
    """Train `network` in place; after each epoch, its number (from 1) and last learning rate.

    Raises:
        NotFiniteError: the loss of a step, or its gradient, is not a finite number.
    """
    optimizer = build_optimizer([(1.0, list(network.parameters()))], settings)
    technique = technique_of(settings, train.labels, classes=network.head.classes)
    parts = batches(len(train), settings.batch_size)
    schedule = schedule_of(settings, len(parts))
    for number in range(1, settings.epochs + 1):
        network.train()
        indices = shuffled(train, settings.seed, number)
        for step, part in enumerate(parts, start=(number - 1) * len(parts)):
            set_rate(optimizer, settings.lr * schedule(step))
            chosen = indices[part]
            noise = dropout_noise(settings.seed, number, train.keys[chosen])
            train_step(
                network,
                optimizer,
                Batch(*train.batch(number, chosen)),
                noise=noise if settings.dropout else None,
                technique=technique,
            )
        yield number, optimizer.param_groups[0]["lr"]


def fit(
    network: HeadNetwork, train: Examples, *, validation: Examples, settings: Settings
) -> Iterator[Epoch]:
    """Train `network` in place, one yielded `Epoch` after another, up to `settings.epochs`.

    Raises:
        NotFiniteError: a loss is not a finite number.
    """
    started = time.perf_counter()
    for number, lr_now in train_epochs(network, train, settings):
        train_loss, train_accuracy = loss_and_accuracy(
            logits_of(network, train.parts(evaluation_batch(train.shape))), train.labels
        )
        logits = logits_of(network, validation.parts(evaluation_batch(validation.shape)))
        val_loss, val_accuracy = loss_and_accuracy(logits, validation.labels)
        if not np.isfinite(train_loss + val_loss):
            raise failed_epoch(number, train_loss, val_loss)
        yield Epoch(
            number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            lr_now=lr_now,
            seconds=time.perf_counter() - started,
            val_logits=logits,
        )
        started = time.perf_counter()
