"""The fused executor: all trials of a tile are trained together, epoch by epoch."""

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.config.settings import Settings
from veduta.networks.heads import Head, HeadNetwork, build_head, head_of
from veduta.optim.vectorized import VectorisedOptimizer
from veduta.training.folds import Fold, pooled, pooled_epoch
from veduta.training.loop import Epoch, batches, shuffled
from veduta.training.state import Examples
from veduta.training.step import (
    EVALUATION_BATCH,
    NotFiniteError,
    dropout_noise,
    failed_epoch,
    failed_step,
)
from veduta.tuning.executors.fused.head import FusedHead
from veduta.tuning.trials.groups import Tile
from veduta.tuning.trials.progress import Beat, LeftError, beating, unheard
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import Course, Finished


@dataclass(frozen=True, slots=True)
class Measured:
    """One entry a slot: mean losses and accuracies; hits (T, images), logits (T, classes, images).

    The last two hold no image where they were not kept.
    """

    losses: list[float]
    accuracies: list[float]
    hits: NDArray[np.bool_]
    logits: Tensor


def measure(head: FusedHead, examples: Examples, beat: Beat, *, keep: bool) -> Measured:
    """Mean cross entropy in nats, summed in float64, and the share of right labels.

    Args:
        head: T trials.
        examples: N images.
        beat: told of every block of them.
        keep: whether hits and logits of every image are wanted.

    Raises:
        LeftError: `beat` says not to go on.
    """
    losses = torch.zeros(len(head.rates), dtype=torch.float64)
    right = torch.zeros(len(head.rates), dtype=torch.int64)
    count = len(examples) if keep else 0
    hits = torch.empty(len(head.rates), count, dtype=torch.bool)
    logits = losses.new_empty(len(head.rates), head.head.classes, count, dtype=examples.dtype)
    start = 0
    for z in head.logits(beating(examples.parts(EVALUATION_BATCH), beat)):
        part = slice(start, start + z.shape[2])
        labels = examples.labels[part]
        start = part.stop
        exact = z.double()
        of_label = exact.gather(1, labels.expand(len(z), 1, -1)).squeeze(1)
        losses += (exact.logsumexp(1) - of_label).sum(1)
        found = z.max(1).indices == labels
        right += found.sum(1)
        if keep:
            hits[:, part], logits[:, :, part] = found, z
    means = losses / len(examples), right.double() / len(examples)
    return Measured(means[0].tolist(), means[1].tolist(), hits.numpy(), logits)


FULL = 0.75

End = Finished | NotFiniteError
"""How a trial ends."""


@dataclass(frozen=True, slots=True)
class TileEpoch:
    """What one epoch of a tile came to, trial by trial."""

    number: int
    epochs: list[tuple[Trial, Epoch]]
    ended: list[tuple[Trial, End]]
    kept: list[Trial] | None = None  # those in the slots that are left, where it was compacted
    paused: Sequence[Outcome] = ()  # of trials that go on later, where any do


@dataclass(frozen=True, slots=True)
class Seen:
    """What an epoch of one fold came to; one entry a slot.

    `losses` are those of the steps: the first that is not finite, else the last; `lr` is the rate
    of the last step.
    """

    losses: list[float]
    lr: list[float]
    train: Measured
    validation: Measured


def run_tile(
    tile: Tile, folds: Sequence[Fold], *, classes: int, beat: Beat = unheard
) -> Generator[TileEpoch, None, None]:
    """Train the trials of one tile, once a fold; after each epoch, what it came to.

    The arithmetic is that of the features: float32, or float64 where a test needs it. Where `beat`,
    told of every step, says not to go on, the tile is left: it is run again whole, or not at all.
    """
    run = _Run(tile, folds, classes)
    number = 0
    while live := run.live():
        number += 1
        started = time.perf_counter()
        try:
            with torch.inference_mode():
                seen = [part.epoch(number, beat) for part in run.parts]
        except LeftError:
            return
        seconds = (time.perf_counter() - started) / len(live) / len(folds)
        epochs, ended = list[tuple[Trial, Epoch]](), list[tuple[Trial, End]]()
        for place in live:
            trial = run.courses[place].trial
            hits = pooled([one.validation.hits[place] for one in seen], folds)
            parts = [_epoch(number, place, seen=one, seconds=seconds) for one in seen]
            errors = [_error(o.losses[place], e) for o, e in zip(seen, parts, strict=True)]
            came = next(filter(None, errors), None) or pooled_epoch(parts, folds, hits)
            if isinstance(came, Epoch):
                epochs.append((trial, came))
            if end := run.take(place, came, hits):
                ended.append((trial, end))
        yield TileEpoch(number, epochs, ended, run.compacted())


def _epoch(number: int, place: int, *, seen: Seen, seconds: float) -> Epoch:
    """The figures of one slot."""
    train, validation = seen.train, seen.validation
    return Epoch(
        number,
        train_loss=train.losses[place],
        train_accuracy=train.accuracies[place],
        val_loss=validation.losses[place],
        val_accuracy=validation.accuracies[place],
        lr_now=seen.lr[place],
        seconds=seconds,
        val_logits=validation.logits[place].T,
    )


def _error(step_loss: float, epoch: Epoch) -> NotFiniteError | None:
    """Why the trial has failed in this epoch, if it has."""
    if not math.isfinite(step_loss):
        return failed_step(step_loss)
    if not math.isfinite(epoch.train_loss + epoch.val_loss):
        return failed_epoch(epoch.number, epoch.train_loss, epoch.val_loss)
    return None


class _Part:
    """A tile at work on one fold."""

    def __init__(self, settings: Sequence[Settings], fold: Fold, head: Head) -> None:
        self.fold = fold
        self.common = settings[0]  # batch size, seed and shape of the head are those of all
        network = build_head(head, self.common.seed)
        network.to(fold.train.dtype)
        smoothing = [one.label_smoothing for one in settings]
        self.head = FusedHead(network, [one.dropout for one in settings], smoothing)
        self.batches = batches(len(fold.train), self.common.batch_size)
        self.optimizer = VectorisedOptimizer(
            settings, self.head.parameters, self.head.gradients, steps=len(self.batches)
        )

    def epoch(self, number: int, beat: Beat) -> Seen:
        """Train one epoch, and measure what came of it."""
        losses = self.train(number, beat)
        train = measure(self.head, self.fold.train, beat, keep=False)
        validation = measure(self.head, self.fold.validation, beat, keep=True)
        return Seen(losses, self.optimizer.lr.tolist(), train, validation)

    def train(self, number: int, beat: Beat) -> list[float]:
        """One epoch; of each slot the first loss that is not finite, else the last one."""
        examples, seed = self.fold.train, self.common.seed
        indices, see = shuffled(examples, seed, number), examples.seen_in(number)
        seen: Tensor | None = None
        for part in beating(self.batches, beat):
            chosen = indices[part]
            noise = dropout_noise(seed, number, examples.keys[chosen])
            batch = see(chosen)
            losses = self.head.train_step(batch.features, batch.labels, noise)
            self.optimizer.step()
            seen = losses if seen is None else torch.where(seen.isfinite(), losses, seen)
        assert seen is not None, "there are training images"  # noqa: S101
        return [float(loss) for loss in seen]

    def keep(self, places: Tensor) -> None:
        """Go on with the trials at `places` alone."""
        self.head.keep(places)
        self.optimizer.keep(places, self.head.parameters, self.head.gradients)


class _Run:
    """A tile at work: slot i of every part is that of `courses[i]`."""

    def __init__(self, tile: Tile, folds: Sequence[Fold], classes: int) -> None:
        self.shape, self.classes = folds[0].train.shape, classes
        settings, head = [trial.settings for trial in tile], self._describe(tile[0])
        self.parts = [_Part(settings, fold, head) for fold in folds]
        self.courses = [Course(trial) for trial in tile]

    def live(self) -> list[int]:
        """The slots of trials that have not ended."""
        return [place for place, course in enumerate(self.courses) if not course.ended]

    def take(self, place: int, came: Epoch | NotFiniteError, hits: NDArray[np.bool_]) -> End | None:
        """Take what an epoch of one slot came to; how the trial ends, where it does."""
        course = self.courses[place]
        if isinstance(came, NotFiniteError):
            course.ended = "failed"
            return came
        course.take(came, hits, lambda: self.parts[0].head.of_trial(place))
        if not course.ended:
            return None
        with torch.device("meta"):  # it gets its numbers from the course
            network = HeadNetwork(self._describe(course.trial))
        return course.finished(network)

    def compacted(self) -> list[Trial] | None:
        """Drop the slots of ended trials, once at most `FULL` of all are at work.

        Returns:
            The trials that are left, where slots were dropped.
        """
        live = self.live()
        if not live or len(live) > FULL * len(self.courses):
            return None
        for part in self.parts:
            part.keep(torch.tensor(live))
        self.courses = [self.courses[place] for place in live]
        return [course.trial for course in self.courses]

    def _describe(self, trial: Trial) -> Head:
        return head_of(trial.settings, self.shape[0], self.classes)
