"""Folds: who trains and who chooses, once or K times over; figures of K trainings made one.

With K folds a trial is trained K times, each time without one fold, which then judges it. Pooled
over the folds every image judges once, and all that follows (best epoch, patience, choice, ties)
sees one trial with one figure an image, as it does where one validation part chooses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.training.loop import Epoch
from veduta.training.state import Examples

Values = TypeVar("Values", NDArray[np.bool_], Tensor)


@dataclass(frozen=True, slots=True)
class Fold:
    """Who trains and who judges in one of the trainings of a trial.

    `places` says where each validation image stands among all that judge, over all folds.
    """

    train: Examples
    validation: Examples
    places: NDArray[np.intp]


def undivided(train: Examples, validation: Examples) -> tuple[Fold]:
    """One training, one validation part that chooses."""
    return (Fold(train, validation, np.arange(len(validation))),)


def divided(examples: Examples, numbers: NDArray[np.intp]) -> tuple[Fold, ...]:
    """The folds of `examples`; `numbers` (N,) says which fold each image judges in.

    Images keep their order within each part, so the pooled order is that of `examples`.
    """
    return tuple(
        Fold(
            examples.among(np.flatnonzero(numbers != number)),
            examples.among(np.flatnonzero(numbers == number)),
            np.flatnonzero(numbers == number),
        )
        for number in np.unique(numbers)
    )


def pooled(parts: Sequence[Values], folds: Sequence[Fold]) -> Values:
    """Values of the validation images of each fold, as one, in the pooled order."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate([fold.places for fold in folds]))
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))[torch.from_numpy(order)]
    return np.concatenate(parts)[order]


def pooled_epoch(epochs: Sequence[Epoch], folds: Sequence[Fold], hits: NDArray[np.bool_]) -> Epoch:
    """One epoch of K trainings as the epoch of one trial.

    Losses and accuracies are means over all images, those of training counted once a fold they
    train in; the learning rate is that of the first fold; seconds add up.

    Args:
        epochs: of each fold, the same epoch.
        folds: in the same order.
        hits: (validation images of all folds,) right or wrong.
    """
    first = epochs[0]
    if len(epochs) == 1:
        return first
    trained = [len(fold.train) for fold in folds]
    judged = [len(fold.validation) for fold in folds]
    return replace(
        first,
        train_loss=float(np.average([one.train_loss for one in epochs], weights=trained)),
        train_accuracy=float(np.average([one.train_accuracy for one in epochs], weights=trained)),
        val_loss=float(np.average([one.val_loss for one in epochs], weights=judged)),
        val_accuracy=float(hits.mean()),
        seconds=sum(one.seconds for one in epochs),
        val_logits=pooled([one.val_logits for one in epochs], folds),
    )
