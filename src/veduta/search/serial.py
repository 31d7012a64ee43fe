"""The serial executor: one trial at a time, each from its own fresh start.

The reference: `search.fused` trains many trials at once and must give what this gives.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from veduta.models.heads import HeadNetwork, build_head, head_of
from veduta.search.course import Course, Finished
from veduta.search.space import Trial
from veduta.training.folds import Fold, pooled, pooled_epoch
from veduta.training.loop import Epoch, fit, train_epochs
from veduta.training.state import Examples


def run_trial(
    trial: Trial,
    folds: Sequence[Fold],
    *,
    classes: int,
    record: Callable[[Epoch], None],
) -> Finished:
    """Train one trial, once a fold; every epoch is recorded, the best one is kept as a copy.

    Raises:
        NotFiniteError: the loss ceased to be a finite number.
    """
    settings, like = trial.settings, folds[0].train
    head = head_of(settings, like.shape[0], classes)
    networks = [build_head(head, settings.seed).to(like.dtype) for _ in folds]
    course = Course(trial)
    trainings = [
        fit(network, fold.train, validation=fold.validation, settings=settings)
        for network, fold in zip(networks, folds, strict=True)
    ]
    for epochs in zip(*trainings, strict=True):
        hits = pooled(
            [_hits(epoch, fold) for epoch, fold in zip(epochs, folds, strict=True)], folds
        )
        epoch = pooled_epoch(epochs, folds, hits)
        record(epoch)
        course.take(epoch, hits, lambda: copy.deepcopy(networks[0].state_dict()))
        if course.ended:
            break
    return course.finished(head)


def _hits(epoch: Epoch, fold: Fold) -> NDArray[np.bool_]:
    """Of the fold's validation images: right or wrong."""
    return (epoch.val_logits.argmax(1) == fold.validation.labels).numpy()


def refit(trial: Trial, examples: Examples, *, classes: int, epochs: int) -> HeadNetwork:
    """The network of `trial` after exactly `epochs` epochs on `examples`, from a fresh start.

    Its schedule is that of the whole trial, so these epochs have the learning rates they had.
    """
    settings = trial.settings
    network = build_head(head_of(settings, examples.shape[0], classes), settings.seed)
    for number, _ in train_epochs(network, examples, settings):
        if number == epochs:
            break
    return network
