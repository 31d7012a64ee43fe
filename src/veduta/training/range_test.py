"""The learning-rate range test: a short training at rates from far too low to far too high.

The loss falls once the rate is high enough to learn, fastest where steps are long and still safe,
and climbs once they are too long. Source: Smith, "Cyclical learning rates for training neural
networks", 2015 (arXiv 1506.01186); the smoothing is fastai's.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from veduta.config.settings import Settings
from veduta.models.heads import HeadNetwork
from veduta.optim.optimizers import build_optimizer, set_rate
from veduta.training.loop import batches, shuffled
from veduta.training.loss import technique_of
from veduta.training.state import Examples
from veduta.training.step import NotFiniteError, dropout_noise, train_step

LOW, HIGH, STEPS = 1e-7, 10.0, 100
MEMORY = 0.9  # of the smoothed loss, a step
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
    mean, best = 0.0, np.inf
    network.train()
    chosen = islice(_chosen(examples, settings), steps)
    with suppress(NotFiniteError):
        for step, (lr, (epoch, places)) in enumerate(
            zip(np.geomspace(low, high, steps).tolist(), chosen, strict=True), start=1
        ):
            set_rate(optimizer, lr)
            noise = dropout_noise(settings.seed, epoch, examples.keys[places])
            batch = examples.seen_in(epoch)(places)
            came = train_step(
                network,
                optimizer,
                batch,
                noise=noise if settings.dropout else None,
                technique=technique,
            )
            mean = MEMORY * mean + (1 - MEMORY) * came.loss
            smoothed = mean / (1 - MEMORY**step)
            best = min(best, smoothed)
            yield Rate(step, lr, came.loss, smoothed)
            if smoothed > DIVERGED * best:
                return


def _chosen(
    examples: Examples, settings: Settings
) -> Iterator[tuple[int, np.ndarray[tuple[int], np.dtype[np.intp]]]]:
    """Epoch and images of each step, for ever."""
    for epoch in count(1):
        order = shuffled(examples, settings.seed, epoch)
        for part in batches(len(examples), settings.batch_size):
            yield epoch, order[part]


def suggestion(rates: Sequence[Rate]) -> Suggestion | None:
    """What a test suggests; None where the loss never fell, or has less than three steps.

    The slope is that of the smoothed loss against ln lr, by central differences, up to the minimum.
    """
    smoothed, lr = (np.array([getattr(r, name) for r in rates]) for name in ("smoothed", "lr"))
    lowest = int(smoothed.argmin()) if len(rates) > 2 else 0
    if lowest == 0:
        return None
    slopes = np.gradient(smoothed, np.log(lr))[: lowest + 1]
    return Suggestion(float(lr[slopes.argmin()]), float(lr[lowest] / 10))
