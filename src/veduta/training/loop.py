"""The training loop over epochs, as a generator."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from veduta.config.settings import Settings
from veduta.networks.heads import HeadNetwork
from veduta.optim.optimizers import build_optimizer, create_weight_average, set_learning_rate
from veduta.optim.schedules import build_schedule
from veduta.runtime.streams import derive_key, shuffle
from veduta.training.examples import Examples
from veduta.training.loss import build_step_options
from veduta.training.step import (
    compute_logits,
    compute_loss_and_accuracy,
    create_dropout_noise,
    create_epoch_error,
    get_evaluation_batch_size,
    train_step,
)
from veduta.types import IndexArray

BUCKETS = 20  # per histogram
MAX_MEASURED_IMAGES = 1000
"""Maximum number of training images that are evaluated if backbone stages are trained."""

StepListener = Callable[[int], None]
"""Called with the number of images of each training step, and with 0 for each evaluation step."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Histogram with buckets of equal width from `low` to `high`.

    Attributes:
        low: smallest value.
        high: largest value.
        counts: number of values in each bucket.
        sum: sum of the values.
        sum_of_squares: sum of their squares.
    """

    low: float
    high: float
    counts: list[int]
    sum: float
    sum_of_squares: float

    @classmethod
    def from_tensor(cls, values: torch.Tensor) -> "Histogram":
        """Compute the histogram of a tensor.

        >>> Histogram.from_tensor(torch.tensor([0.0, 1.0, 1.0])).counts[-1]
        2
        """
        exact = values.detach().double().flatten()
        low, high = exact.min().item(), exact.max().item()
        counts = torch.histc(exact, BUCKETS, low, high if high > low else low + 1)
        total, squares = exact.sum().item(), exact.square().sum().item()
        return cls(low, high, counts.long().tolist(), total, squares)


def compute_histograms(network: nn.Module) -> dict[str, Histogram]:
    """Compute the histograms of all weight matrices and kernels, by parameter name."""
    return {
        name: Histogram.from_tensor(parameter)
        for name, parameter in network.named_parameters()
        if parameter.dim() > 1
    }


@dataclass(frozen=True, slots=True)
class Epoch:
    """Results of one epoch, evaluated after its last step on images without augmentation.

    Attributes:
        number: number of the epoch, from 1.
        train_loss: loss on the training images, in nats; on at most `MAX_MEASURED_IMAGES` of
            them if backbone stages are trained.
        train_accuracy: accuracy on the same images.
        val_loss: loss on the validation images, in nats.
        val_accuracy: accuracy on the validation images.
        current_lr: learning rate of the last step.
        seconds: duration of the training steps.
        val_logits: (validation images, classes) float32.
        gradient_norm: mean gradient norm of the steps; None in the fused executor.
        weights: histograms of the weights by parameter name; None if only the head is trained.
    """

    number: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    current_lr: float
    seconds: float
    val_logits: Tensor
    gradient_norm: float | None = None
    weights: Mapping[str, Histogram] | None = None


def split_into_batches(count: int, batch_size: int) -> list[slice]:
    """Return slices of `batch_size` that cover `count` images.

    A single image at the end joins the previous batch.

    >>> split_into_batches(7, 3)
    [slice(0, 3, None), slice(3, 7, None)]
    """
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]


def shuffle_examples(train: Examples, seed: int, epoch: int) -> IndexArray:
    """Return the order of the examples in an epoch (report, section 4.6), given the seed."""
    return shuffle(derive_key(seed, "order", epoch), train.keys)


def select_measured_examples(train: Examples, seed: int) -> Examples:
    """Select the evaluated examples: all features, or a fixed sample of pixels or feature maps."""
    if len(train.shape) == 1 or len(train) <= MAX_MEASURED_IMAGES:
        return train
    order = shuffle(derive_key(seed, "measured"), train.keys)
    return train.select(np.sort(order[:MAX_MEASURED_IMAGES]))


@dataclass(slots=True)
class EpochClock:
    """Measures the duration of an epoch, including its steps before a resume.

    Attributes:
        previous_seconds: seconds before the resume.
        started: time at which the clock was started; None if it is not running.
    """

    previous_seconds: float = 0.0
    started: float | None = None

    def start(self) -> None:
        """Start the clock unless it is running."""
        self.started = self.started or time.perf_counter()

    @property
    def seconds(self) -> float:
        """Duration of the epoch so far."""
        elapsed = time.perf_counter() - self.started if self.started else 0.0
        return self.previous_seconds + elapsed


class Training:
    """Training of one network: the state that its steps change, and what they depend on.

    Attributes:
        network: the network that is trained.
        train: training examples.
        settings: settings of the trial.
        average: moving average of the weights; None without one.
        optimizer: optimizer of the parameters of the network.
        epoch: number of the current epoch, from 1.
        step: number of completed steps of the current epoch.
        gradient_norm_sum: sum of the gradient norms of these steps.
        clock: measures the duration of these steps.
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
        groups = network.group_parameters(settings.backbone_lr_scale)
        self.optimizer = build_optimizer(groups, settings)
        self.average = (
            create_weight_average(network, settings.ema) if settings.averages_weights else None
        )
        self.epoch, self.step, self.gradient_norm_sum = 1, 0, 0.0
        self.clock = EpochClock()
        self._batches = split_into_batches(len(train), settings.batch_size)
        self._schedule = build_schedule(settings, len(self._batches))
        self._options = build_step_options(
            settings, train.labels, classes=network.head.classes, autocast=autocast
        )

    @property
    def evaluated_network(self) -> HeadNetwork:
        """The network that is evaluated and saved: the average if there is one."""
        if self.average is None:
            return self.network
        return cast("HeadNetwork", self.average.module)

    @property
    def mean_gradient_norm(self) -> float:
        """Mean gradient norm of the steps of the current epoch."""
        return self.gradient_norm_sum / max(self.step, 1)

    def finish_epoch(self, on_step: StepListener = lambda _: None) -> float:
        """Run the remaining steps of the current epoch.

        Args:
            on_step: called after each step with the number of its images.

        Returns:
            The learning rate of the last step.

        Raises:
            NotFiniteError: the loss of a step or its gradient norm is not finite.
        """
        settings, epoch = self.settings, self.epoch
        self.clock.start()
        self.network.set_tail_trainable(epoch > settings.freeze_epochs)
        self.network.train()
        order = shuffle_examples(self.train, settings.seed, epoch)
        get_batch = self.train.get_batch_source(epoch)
        previous_steps = (epoch - 1) * len(self._batches)
        while self.step < len(self._batches):
            indices = order[self._batches[self.step]]
            factor = self._schedule(previous_steps + self.step)
            set_learning_rate(self.optimizer, settings.lr * factor)
            noise = create_dropout_noise(settings.seed, epoch, self.train.keys[indices])
            step = train_step(
                self.network,
                self.optimizer,
                get_batch(indices),
                noise=noise if settings.dropout else None,
                options=self._options,
            )
            if self.average:
                self.average.update_parameters(self.network)
            self.step += 1
            self.gradient_norm_sum += step.gradient_norm
            on_step(len(indices))
        return settings.lr * self._schedule(previous_steps + self.step - 1)

    def start_next_epoch(self) -> None:
        """Move to the start of the next epoch."""
        self.epoch, self.step, self.gradient_norm_sum = self.epoch + 1, 0, 0.0
        self.clock = EpochClock()


def fit(
    training: Training, validation: Examples, on_step: StepListener = lambda _: None
) -> Iterator[Epoch]:
    """Continue a training up to `settings.epochs`, and yield the results of each epoch.

    When an epoch is yielded, the training is at the start of the next one.

    Args:
        training: state of the training.
        validation: examples that each epoch is evaluated on.
        on_step: called after each step.

    Raises:
        NotFiniteError: a loss is not finite.
    """
    settings = training.settings
    measured = select_measured_examples(training.train, settings.seed)
    while training.epoch <= settings.epochs:
        current_lr = training.finish_epoch(on_step)
        network, number = training.evaluated_network, training.epoch
        train_logits = compute_logits(network, _iterate_batches(measured, on_step))
        train_loss, train_accuracy = compute_loss_and_accuracy(train_logits, measured.labels)
        val_logits = compute_logits(network, _iterate_batches(validation, on_step))
        val_loss, val_accuracy = compute_loss_and_accuracy(val_logits, validation.labels)
        if not np.isfinite(train_loss + val_loss):
            raise create_epoch_error(number, train_loss, val_loss)
        epoch = Epoch(
            number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            current_lr=current_lr,
            seconds=training.clock.seconds,
            val_logits=val_logits,
            gradient_norm=training.mean_gradient_norm,
            weights=compute_histograms(network) if len(measured.shape) > 1 else None,
        )
        training.start_next_epoch()
        yield epoch


def _iterate_batches(examples: Examples, on_step: StepListener) -> Iterator[Tensor]:
    """Yield the features of the evaluation batches, and call `on_step` with 0 before each."""
    for part in examples.iterate_parts(get_evaluation_batch_size(examples.shape)):
        on_step(0)
        yield part
