"""The learning-rate range test: a short training with a learning rate that increases exponentially.

The loss falls when the learning rate is large enough, fastest near a good value, and rises when it
is too large. Source: Smith, "Cyclical learning rates for training neural networks", 2015
(arXiv 1506.01186); the smoothing is that of fastai.

This is own code because existing implementations (torch-lr-finder, fastai) bring their own training
loop, and the test must use the steps, batches and random streams of `training.loop`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from veduta.config.settings import Settings
from veduta.networks.heads import HeadNetwork, Noise
from veduta.optim.optimizers import build_optimizer, set_learning_rate
from veduta.runs.summary import SuggestedRates
from veduta.training.examples import Examples
from veduta.training.loop import shuffle_examples, split_into_batches
from veduta.training.loss import Batch, build_step_options
from veduta.training.step import NotFiniteError, create_dropout_noise, train_step

LOW, HIGH, STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.9  # decay of the moving average of the loss
SETTLED_STEPS = 10  # steps until the moving average no longer depends on its start
DIVERGENCE_FACTOR = 4.0  # the test ends when the smoothed loss exceeds its minimum by this factor


@dataclass(frozen=True, slots=True)
class RangeStep:
    """One step of the test.

    Attributes:
        step: number of the step, from 1.
        lr: learning rate.
        loss: loss before the update, in nats.
        smoothed: moving average of the loss.
    """

    step: int
    lr: float
    loss: float
    smoothed: float


def run_range_test(
    network: HeadNetwork,
    examples: Examples,
    settings: Settings,
    *,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
) -> Iterator[RangeStep]:
    """Train `network` in place with learning rates that form a geometric sequence.

    The test ends early if the smoothed loss exceeds 4 times its minimum or is not finite.

    Args:
        network: network of a trial, which is not usable afterwards.
        examples: training examples; their order is that of a training, epoch after epoch.
        settings: settings of the trial; schedule and learning rate are ignored.
        low: first learning rate.
        high: last learning rate.
        steps: number of steps.
    """
    optimizer = build_optimizer(network.group_parameters(settings.backbone_lr_scale), settings)
    options = build_step_options(settings, examples.labels, classes=network.head.classes)
    mean, minimum = 0.0, math.inf
    network.train()
    rates = np.geomspace(low, high, steps).tolist()
    batches = islice(_iterate_batches(examples, settings), steps)
    with suppress(NotFiniteError):
        for number, (lr, (batch, noise)) in enumerate(zip(rates, batches, strict=True), start=1):
            set_learning_rate(optimizer, lr)
            step = train_step(network, optimizer, batch, noise=noise, options=options)
            mean = SMOOTHING * mean + (1 - SMOOTHING) * step.loss
            smoothed = mean / (1 - SMOOTHING**number)
            minimum = min(minimum, smoothed)
            yield RangeStep(number, lr, step.loss, smoothed)
            if smoothed > DIVERGENCE_FACTOR * minimum:
                return


def _iterate_batches(
    examples: Examples, settings: Settings
) -> Iterator[tuple[Batch, Noise | None]]:
    """Yield the batch and the dropout noise of each step, epoch after epoch, without end."""
    for epoch in count(1):
        order = shuffle_examples(examples, settings.seed, epoch)
        get_batch = examples.get_batch_source(epoch)
        for part in split_into_batches(len(examples), settings.batch_size):
            indices = order[part]
            noise = create_dropout_noise(settings.seed, epoch, examples.keys[indices])
            yield get_batch(indices), noise if settings.dropout else None


def suggest_learning_rates(steps: Sequence[RangeStep]) -> SuggestedRates | None:
    """Suggest learning rates from the steps of a range test.

    The first steps are ignored because the moving average has not settled. The slope is that of the
    smoothed loss against ln lr, by central differences, up to the minimum. The noise is the
    standard deviation of the losses of the first steps.

    Returns:
        The suggestion; None if the loss did not decrease by more than the noise.
    """
    if len(steps) < SETTLED_STEPS + 3:
        return None
    noise = np.std([step.loss for step in steps[:SETTLED_STEPS]])
    smoothed = np.array([step.smoothed for step in steps[SETTLED_STEPS:]])
    lr = np.array([step.lr for step in steps[SETTLED_STEPS:]])
    lowest = int(smoothed.argmin())
    if smoothed[0] - smoothed[lowest] <= noise:
        return None
    slopes = np.gradient(smoothed, np.log(lr))[: lowest + 1]
    return SuggestedRates(
        steepest=float(lr[slopes.argmin()]), tenth_of_minimum=float(lr[lowest] / 10)
    )
