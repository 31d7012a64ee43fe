"""The serial executor: one trial at a time, each from its own fresh start.

It runs what `search.fused` cannot, trials whose networks are more than a head; and it is the
reference: `search.fused` trains many heads at once and must give what this gives.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.config.settings import Settings
from veduta.networks.freezing import Tail, TailNetwork
from veduta.networks.heads import HeadNetwork, build_head, head_of
from veduta.training.folds import Fold, pooled, pooled_epoch
from veduta.training.loop import Epoch, Training, fit
from veduta.training.state import Examples
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.fused.executor import End, TileEpoch
from veduta.tuning.executors.pool import Epochs
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.groups import Tile
from veduta.tuning.trials.progress import Beat, LeftError, unheard
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import HALVED, Course


@dataclass(frozen=True, slots=True)
class Way:
    """How a trial is trained, and how far.

    Attributes:
        classes: how many.
        tail: the stages that train with the head, with the weights that they start from.
        autocast: the type that products are computed in; None: that of the weights.
        until: the epoch at which it pauses, where it has not come to its end before.
        last: whether the pause is its end.
    """

    classes: int
    tail: Tail | None = None
    autocast: torch.dtype | None = None
    until: int | None = None
    last: bool = False


@dataclass(slots=True)
class _Work:
    """A trial under way, once a fold."""

    trial: Trial
    folds: Sequence[Fold]
    way: Way
    keeper: Keeper
    beat: Beat
    course: Course = field(init=False)
    trainings: list[Training] = field(init=False)

    def __post_init__(self) -> None:
        self.course = Course(self.trial)
        self.trainings = [
            fresh_training(self.trial.settings, fold.train, self.way) for fold in self.folds
        ]
        self.keeper.load(self.course, self.trainings)

    def epochs(self) -> Iterator[Epoch]:
        """The epochs, those before a resume first; these have no logits any more."""
        yield from list(self.course.epochs)
        fits = [
            fit(training, fold.validation, self.pulse)
            for training, fold in zip(self.trainings, self.folds, strict=True)
        ]
        for epochs in zip(*fits, strict=True):
            hits = pooled(
                [_hits(e, f) for e, f in zip(epochs, self.folds, strict=True)], self.folds
            )
            network = self.trainings[0].measured
            epoch = pooled_epoch(epochs, self.folds, hits)
            self.course.take(epoch, hits, lambda: copy.deepcopy(network.state_dict()))  # noqa: B023
            if self.keeper.due:
                self.save()
            yield epoch

    def pulse(self, images: int) -> None:
        """Between two steps; a training of one fold may be saved there."""
        if not self.beat(images):
            if len(self.folds) == 1:
                self.save()
            raise LeftError
        if len(self.folds) == 1 and self.keeper.due:
            self.save()

    def came(self, epoch: Epoch) -> TileEpoch:
        """What an epoch came to; after the last, the end of the trial or its pause."""
        number = epoch.number
        ended: list[tuple[Trial, End]] = []
        paused = []
        if number == len(self.course.epochs):
            until = self.way.until is not None and number >= self.way.until
            if until and self.way.last and not self.course.ended:
                self.course.ended = HALVED
            if self.course.ended:
                self.save()
                self.keeper.ended()
                ended = [(self.trial, self.course.finished(self.trainings[0].measured))]
            elif until:
                self.save()
                paused = [self.course.outcome(self.trainings[0].network.trained)]
        return TileEpoch(number, [(self.trial, epoch)], ended, None, paused)

    def save(self) -> None:
        """Write a checkpoint now, where the weights are finite: else the last such one stays."""
        if all(p.isfinite().all() for one in self.trainings for p in one.network.parameters()):
            self.keeper.save(self.course, self.trainings)


def run_alone(
    tile: Tile,
    folds: Sequence[Fold],
    *,
    way: Way,
    keeper: Keeper | None = None,
    beat: Beat = unheard,
) -> Epochs:
    """Train a tile of one trial, once a fold; after each epoch, what it came to, as `run_tile`.

    A trial that was interrupted, or paused, goes on from its last checkpoint: the epochs before it
    are yielded again as they were, and the bits are those of a trial that was never stopped.

    Args:
        tile: the trial.
        folds: of features, or with a tail of the maps or pixels that it takes.
        way: how, and how far.
        keeper: of its checkpoints; None keeps nothing.
        beat: told of every step; where it says no, the training is saved and left.
    """
    (trial,) = tile
    work = _Work(trial, folds, way, keeper or Keeper(), beat)
    try:
        for epoch in work.epochs():
            came = work.came(epoch)
            yield came
            if came.ended or came.paused:
                return
    except GeneratorExit:  # left between two epochs
        if not work.course.ended:  # else it was saved, and the network is that of its best epoch
            work.save()
        raise
    except LeftError:
        return
    except NotFiniteError as error:
        yield TileEpoch(len(work.course.epochs) + 1, [], [(trial, error)])


def fresh_network(settings: Settings, like: Examples, way: Way) -> HeadNetwork:
    """The network of a trial as it starts: a new head, and a copy of the tail before it.

    Args:
        settings: of the trial.
        like: examples of the shape and type that it takes.
        way: what else decides it.
    """
    features = like.shape[0] if way.tail is None else way.tail.features
    network = build_head(head_of(settings, features, way.classes), settings.seed)
    if way.tail is not None:
        network = TailNetwork(network, way.tail)
    return network.to(like.dtype)


def fresh_training(settings: Settings, train: Examples, way: Way) -> Training:
    """A training of that network, before its first step."""
    return Training(fresh_network(settings, train, way), train, settings, autocast=way.autocast)


def _hits(epoch: Epoch, fold: Fold) -> NDArray[np.bool_]:
    """Of the fold's validation images: right or wrong."""
    return (epoch.val_logits.argmax(1) == fold.validation.labels).numpy()
