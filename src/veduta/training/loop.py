"""The training loop over epochs, as a generator."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from veduta.config.settings import Settings
from veduta.networks.heads import HeadNetwork
from veduta.optim.averaging import create_weight_average
from veduta.optim.optimizers import build_optimizer, set_learning_rate
from veduta.optim.schedules import build_schedule
from veduta.runtime.streams import order, stream
from veduta.training.loss import technique_of
from veduta.training.state import Examples
from veduta.training.step import (
    dropout_noise,
    evaluation_batch,
    failed_epoch,
    logits_of,
    loss_and_accuracy,
    train_step,
)

BUCKETS = 20


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers in buckets of equal width from `low` to `high`.

    Attributes:
        counts: of each bucket.
        total, squares: the sum of the numbers, and of their squares.
    """

    low: float
    high: float
    counts: list[int]
    total: float
    squares: float

    @classmethod
    def of(cls, numbers: torch.Tensor) -> "Histogram":
        """The histogram of a tensor.

        >>> Histogram.of(torch.tensor([0.0, 1.0, 1.0])).counts[-1]
        2
        """
        exact = numbers.detach().double().flatten()
        low, high = exact.min().item(), exact.max().item()
        counts = torch.histc(exact, BUCKETS, low, high if high > low else low + 1)
        total, squares = exact.sum().item(), exact.square().sum().item()
        return cls(low, high, counts.long().tolist(), total, squares)


def histograms(network: nn.Module) -> dict[str, dict[str, Any]]:
    """The histogram of every matrix and kernel of a network, as plain values by its name."""
    found = ((n, p) for n, p in network.named_parameters() if p.dim() > 1)
    return {name: as_plain(Histogram.of(parameter)) for name, parameter in found}


def as_plain(histogram: Histogram) -> dict[str, Any]:
    """As the journal keeps it."""
    return {name: getattr(histogram, name) for name in Histogram.__slots__}


MEASURED = 1000
"""Training images whose accuracy is measured, where that takes a pass through a network."""

Pulse = Callable[[int], None]
"""Told after every step how many images it was made on; 0 for a step that learns nothing."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to: measured after it, in evaluation mode, on plain images.

    Training figures are those of all images, or of `MEASURED` of them where stages train.
    """

    number: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr_now: float
    seconds: float
    val_logits: Tensor  # (validation images, classes) float32
    gradient_norm: float | None = None  # mean over the steps; the fused executor has none
    weights: Mapping[str, Any] | None = None  # their histograms, where more than a head trains


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


def sample_of(train: Examples, seed: int) -> Examples:
    """The training images that are measured: all, or a fixed draw where they are maps or pixels."""
    if len(train.shape) == 1 or len(train) <= MEASURED:
        return train
    return train.among(np.sort(order(stream(seed, "measured"), train.keys)[:MEASURED]))


@dataclass(slots=True)
class Clock:
    """Seconds of the epoch under way, those before a resume included."""

    before: float = 0.0
    started: float | None = None

    def start(self) -> None:
        """Go on counting, where it does not count yet."""
        self.started = self.started or time.perf_counter()

    @property
    def seconds(self) -> float:
        """So far."""
        return self.before + (time.perf_counter() - self.started if self.started else 0.0)


class Training:
    """A network on its way: all that its steps change, and where it stands.

    Attributes:
        network: it, in training.
        average: the moving average of its weights, where one is kept.
        optimizer: over its parameters.
        epoch, step: the epoch under way, from 1, and how many of its steps are made.
        lengths: sum over these steps of the gradient's length.
        clock: how long they took.
    """

    def __init__(
        self,
        network: HeadNetwork,
        train: Examples,
        settings: Settings,
        *,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.network, self.train, self.settings = network, train, settings
        self.optimizer = build_optimizer(network.groups(settings.backbone_lr_scale), settings)
        self.average = create_weight_average(network, settings.ema) if settings.ema else None
        self.epoch, self.step, self.lengths = 1, 0, 0.0
        self.clock = Clock()
        self._batches = batches(len(train), settings.batch_size)
        self._schedule = build_schedule(settings, len(self._batches))
        self._technique = technique_of(
            settings, train.labels, classes=network.head.classes, autocast=autocast
        )

    @property
    def measured(self) -> HeadNetwork:
        """What is measured and kept: the average, where there is one."""
        found = self.average.module if self.average else self.network
        assert isinstance(found, HeadNetwork), "an average is of the network's kind"  # noqa: S101
        return found

    @property
    def mean_length(self) -> float:
        """Of the gradient, over the steps of the epoch so far."""
        return self.lengths / max(self.step, 1)

    def finish_epoch(self, pulse: Pulse = lambda _: None) -> float:
        """Make what is left of the steps of the epoch under way; the rate of the last one.

        Raises:
            NotFiniteError: the loss of a step, or its gradient, is not a finite number.
        """
        settings, number = self.settings, self.epoch
        self.clock.start()
        self.network.open(number > settings.freeze_epochs)
        self.network.train()
        indices, see = shuffled(self.train, settings.seed, number), self.train.seen_in(number)
        first = (number - 1) * len(self._batches)
        while self.step < len(self._batches):
            chosen = indices[self._batches[self.step]]
            set_learning_rate(self.optimizer, settings.lr * self._schedule(first + self.step))
            noise = dropout_noise(settings.seed, number, self.train.keys[chosen])
            made = train_step(
                self.network,
                self.optimizer,
                see(chosen),
                noise=noise if settings.dropout else None,
                technique=self._technique,
            )
            if self.average:
                self.average.update_parameters(self.network)
            self.step += 1
            self.lengths += made.gradient_norm
            pulse(len(chosen))
        return settings.lr * self._schedule(first + self.step - 1)

    def next_epoch(self) -> None:
        """Stand at the start of the next epoch."""
        self.epoch, self.step, self.lengths = self.epoch + 1, 0, 0.0
        self.clock = Clock()


def fit(training: Training, validation: Examples, pulse: Pulse = lambda _: None) -> Iterator[Epoch]:
    """Train on, one yielded `Epoch` after another, up to the last of the settings.

    When an epoch is yielded the training stands at the start of the next one.

    Args:
        training: where it stands; it goes on from there.
        validation: what its epochs are measured on.
        pulse: told of every step.

    Raises:
        NotFiniteError: a loss is not a finite number.
    """
    settings = training.settings
    sample = sample_of(training.train, settings.seed)
    while training.epoch <= settings.epochs:
        lr_now = training.finish_epoch(pulse)
        network, number = training.measured, training.epoch
        train_logits = logits_of(network, _told(sample, pulse))
        train_loss, train_accuracy = loss_and_accuracy(train_logits, sample.labels)
        logits = logits_of(network, _told(validation, pulse))
        val_loss, val_accuracy = loss_and_accuracy(logits, validation.labels)
        if not np.isfinite(train_loss + val_loss):
            raise failed_epoch(number, train_loss, val_loss)
        epoch = Epoch(
            number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            lr_now=lr_now,
            seconds=training.clock.seconds,
            val_logits=logits,
            gradient_norm=training.mean_length,
            weights=histograms(network) if len(sample.shape) > 1 else None,
        )
        training.next_epoch()
        yield epoch


def _told(examples: Examples, pulse: Pulse) -> Iterator[Tensor]:
    """The parts that are measured one by one; `pulse` is told before each."""
    for part in examples.parts(evaluation_batch(examples.shape)):
        pulse(0)
        yield part
