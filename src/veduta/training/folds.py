"""Folds of cross-validation, and the results of several trainings combined into one.

With K folds a trial is trained K times, each time without one fold, which validates that training.
Pooled over the folds, each image is validated exactly once. Everything that follows (best epoch,
patience, selection, ties) uses the pooled results, as it does with a single validation split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from veduta.training.examples import Examples
from veduta.training.loop import Epoch
from veduta.types import BoolArray, IndexArray

Values = TypeVar("Values", BoolArray, Tensor)


@dataclass(frozen=True, slots=True)
class Fold:
    """The examples of one of the trainings of a trial.

    Attributes:
        train: training examples.
        validation: validation examples.
        positions: position of each validation example in the pooled order of all folds.
    """

    train: Examples
    validation: Examples
    positions: IndexArray


def create_single_fold(train: Examples, validation: Examples) -> tuple[Fold]:
    """Create the fold of a single training with a validation split."""
    return (Fold(train, validation, np.arange(len(validation))),)


def split_into_folds(examples: Examples, fold_numbers: IndexArray) -> tuple[Fold, ...]:
    """Split examples into folds.

    Images keep their order in each fold, so the pooled order is that of `examples`.

    Args:
        examples: all training examples.
        fold_numbers: number of the fold in which each example is validated, (N,).
    """
    return tuple(
        Fold(
            examples.select(np.flatnonzero(fold_numbers != number)),
            examples.select(np.flatnonzero(fold_numbers == number)),
            np.flatnonzero(fold_numbers == number),
        )
        for number in np.unique(fold_numbers)
    )


def pool_values(parts: Sequence[Values], folds: Sequence[Fold]) -> Values:
    """Combine values of the validation images of each fold into one array in the pooled order."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate([fold.positions for fold in folds]))
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))[torch.from_numpy(order)]
    return np.concatenate(parts)[order]


def pool_epochs(epochs: Sequence[Epoch], folds: Sequence[Fold], correct: BoolArray) -> Epoch:
    """Combine the same epoch of K trainings into one epoch of the trial.

    Losses and accuracies are means over all images; a training image counts once per fold in which
    it is trained on. The learning rate is that of the first fold, and the seconds are summed.

    Args:
        epochs: the epoch of each fold.
        folds: the folds, in the same order.
        correct: whether each validation image is classified correctly, in the pooled order.
    """
    first = epochs[0]
    if len(epochs) == 1:
        return first
    train_sizes = [len(fold.train) for fold in folds]
    val_sizes = [len(fold.validation) for fold in folds]
    train_losses = [epoch.train_loss for epoch in epochs]
    train_accuracies = [epoch.train_accuracy for epoch in epochs]
    val_losses = [epoch.val_loss for epoch in epochs]
    return replace(
        first,
        train_loss=float(np.average(train_losses, weights=train_sizes)),
        train_accuracy=float(np.average(train_accuracies, weights=train_sizes)),
        val_loss=float(np.average(val_losses, weights=val_sizes)),
        val_accuracy=float(correct.mean()),
        seconds=sum(epoch.seconds for epoch in epochs),
        val_logits=pool_values([epoch.val_logits for epoch in epochs], folds),
    )
