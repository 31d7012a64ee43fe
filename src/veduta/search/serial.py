"""The serial executor: one trial at a time, each from its own fresh start.

It runs what `search.fused` cannot, trials whose networks are more than a head; and it is the
reference: `search.fused` trains many heads at once and must give what this gives.
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from veduta.config.settings import Settings
from veduta.models.freezing import Tail, TailNetwork
from veduta.models.heads import HeadNetwork, build_head, head_of
from veduta.search.course import Course, Finished
from veduta.search.fused import End, TileEpoch
from veduta.search.groups import Tile
from veduta.search.space import Trial
from veduta.training.folds import Fold, pooled, pooled_epoch
from veduta.training.loop import Epoch, fit, train_epochs
from veduta.training.state import Examples
from veduta.training.step import NotFiniteError


def run_alone(
    tile: Tile, folds: Sequence[Fold], *, classes: int, tail: Tail | None
) -> Iterator[TileEpoch]:
    """Train a tile of one trial, once a fold; after each epoch, what it came to, as `run_tile`.

    Args:
        tile: the trial.
        folds: of features, or with a tail of the maps that it takes.
        classes: how many.
        tail: the stages that train with the head, with the weights that they start from.
    """
    (trial,) = tile
    settings, like = trial.settings, folds[0].train
    networks = [_fresh(settings, like, classes, tail=tail) for _ in folds]
    course = Course(trial)
    trainings = [
        fit(network, fold.train, validation=fold.validation, settings=settings)
        for network, fold in zip(networks, folds, strict=True)
    ]
    number = 0
    try:
        for number, epochs in enumerate(zip(*trainings, strict=True), start=1):
            hits = pooled([_hits(e, f) for e, f in zip(epochs, folds, strict=True)], folds)
            epoch = pooled_epoch(epochs, folds, hits)
            course.take(epoch, hits, lambda: copy.deepcopy(networks[0].state_dict()))
            ended = [(trial, course.finished(networks[0]))] if course.ended else []
            yield TileEpoch(number, [(trial, epoch)], list[tuple[Trial, End]](ended), None)
            if ended:
                return
    except NotFiniteError as error:
        yield TileEpoch(number + 1, [], [(trial, error)], None)


def run_trial(
    trial: Trial,
    folds: Sequence[Fold],
    *,
    classes: int,
    record: Callable[[Epoch], None],
    tail: Tail | None = None,
) -> Finished:
    """Train one trial, once a fold; every epoch is recorded, the best one is kept as a copy.

    Raises:
        NotFiniteError: the loss ceased to be a finite number.
    """
    ends: list[End] = []
    for came in run_alone((trial,), folds, classes=classes, tail=tail):
        for _, epoch in came.epochs:
            record(epoch)
        ends += [end for _, end in came.ended]
    (end,) = ends
    if isinstance(end, NotFiniteError):
        raise end
    return end


def _hits(epoch: Epoch, fold: Fold) -> NDArray[np.bool_]:
    """Of the fold's validation images: right or wrong."""
    return (epoch.val_logits.argmax(1) == fold.validation.labels).numpy()


def refit(
    trial: Trial, examples: Examples, *, classes: int, epochs: int, tail: Tail | None = None
) -> HeadNetwork:
    """The network of `trial` after exactly `epochs` epochs on `examples`, from a fresh start.

    Its schedule is that of the whole trial, so these epochs have the learning rates they had.
    """
    settings = trial.settings
    network = _fresh(settings, examples, classes, tail=tail)
    for number, _ in train_epochs(network, examples, settings):
        if number == epochs:
            break
    return network


def _fresh(settings: Settings, train: Examples, classes: int, *, tail: Tail | None) -> HeadNetwork:
    """The network of a trial as it starts: a new head, and a copy of the tail before it."""
    features = train.shape[0] if tail is None else tail.features
    network = build_head(head_of(settings, features, classes), settings.seed)
    if tail is not None:
        network = TailNetwork(network, tail)
    return network.to(train.dtype)
