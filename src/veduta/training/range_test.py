"""The learning-rate range test: a short training at rates from far too low to far too high.

The loss falls once the rate is high enough to learn, fastest where steps are long and still safe,
and climbs once they are too long. Source: Smith, "Cyclical learning rates for training neural
networks", 2015 (arXiv 1506.01186); the smoothing is fastai's.
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
from veduta.training.loop import batches, shuffled
from veduta.training.loss import Batch, technique_of
from veduta.training.state import Examples
from veduta.training.step import NotFiniteError, dropout_noise, train_step

LOW, HIGH, STEPS = 1e-7, 10.0, 100
MEMORY = 0.9  # of the smoothed loss, a step
SETTLED = 10  # steps after which the mean has forgotten how it started
DIVERGED = 4.0  # times the best smoothed loss: no higher rate will do


@dataclass(frozen=True, slots=True)
class Rate:
    """One step of the test: its number from 1, its rate, the loss before it, and that smoothed."""

    step: int
    lr: float
    loss: float
    smoothed: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Learning rates to try: where the loss fell fastest, and a tenth of where it was lowest."""

    steepest: float
    tenth: float


def range_test(
    network: HeadNetwork,
    examples: Examples,
    settings: Settings,
    *,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
) -> Iterator[Rate]:
    """Train `network` in place, at rates from `low` to `high` in equal ratios, until it diverges.

    It ends early once the smoothed loss exceeds 4 times its lowest value, or is not finite.

    Args:
        network: of a trial; of no use afterwards.
        examples: training images; in the order of the training proper, over again where they are
            few.
        settings: of the trial; schedule and learning rate are left aside.
        low: the first rate.
        high: the last rate.
        steps: how many rates.
    """
    optimizer = build_optimizer(network.groups(settings.backbone_lr_scale), settings)
    technique = technique_of(settings, examples.labels, classes=network.head.classes)
    mean, best = 0.0, math.inf
    network.train()
    rates = np.geomspace(low, high, steps).tolist()
    shown = islice(_batches(examples, settings), steps)
    with suppress(NotFiniteError):
        for step, (lr, (batch, noise)) in enumerate(zip(rates, shown, strict=True), start=1):
            set_learning_rate(optimizer, lr)
            made = train_step(network, optimizer, batch, noise=noise, technique=technique)
            mean = MEMORY * mean + (1 - MEMORY) * made.loss
            smoothed = mean / (1 - MEMORY**step)
            best = min(best, smoothed)
            yield Rate(step, lr, made.loss, smoothed)
            if smoothed > DIVERGED * best:
                return


def _batches(examples: Examples, settings: Settings) -> Iterator[tuple[Batch, Noise | None]]:
    """What each step learns from, epoch after epoch, for ever."""
    for epoch in count(1):
        order, see = shuffled(examples, settings.seed, epoch), examples.seen_in(epoch)
        for part in batches(len(examples), settings.batch_size):
            chosen = order[part]
            noise = dropout_noise(settings.seed, epoch, examples.keys[chosen])
            yield see(chosen), noise if settings.dropout else None


def suggestion(rates: Sequence[Rate]) -> Suggestion | None:
    """What a test suggests; None where the loss did not fall, or by no more than it scatters.

    The first steps are left out: the mean has not settled. The slope is that of the smoothed loss
    against ln lr, by central differences, up to the minimum; the scatter is the standard deviation
    of the losses of the first steps.
    """
    if len(rates) < SETTLED + 3:
        return None
    scatter = np.std([rate.loss for rate in rates[:SETTLED]])
    smoothed = np.array([rate.smoothed for rate in rates[SETTLED:]])
    lr = np.array([rate.lr for rate in rates[SETTLED:]])
    lowest = int(smoothed.argmin())
    if smoothed[0] - smoothed[lowest] <= scatter:
        return None
    slopes = np.gradient(smoothed, np.log(lr))[: lowest + 1]
    return Suggestion(float(lr[slopes.argmin()]), float(lr[lowest] / 10))
