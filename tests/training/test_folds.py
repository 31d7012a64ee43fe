"""Folds: their training and validation examples, and pooled results of two folds by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from veduta.training.examples import Examples
from veduta.training.folds import (
    Fold,
    create_single_fold,
    pool_epochs,
    pool_values,
    split_into_folds,
)
from veduta.training.loop import Epoch

FEATURES = torch.arange(10.0).reshape(5, 2)
EXAMPLES = Examples(
    FEATURES, torch.tensor([0, 1, 0, 1, 1]), np.arange(5, dtype=np.uint64), (FEATURES + 100,)
)


def create_epoch(
    losses: tuple[float, float], accuracies: tuple[float, float], logits: Tensor
) -> Epoch:
    (train_loss, val_loss), (train_accuracy, val_accuracy) = losses, accuracies
    return Epoch(
        3,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        current_lr=0.1,
        seconds=1.5,
        val_logits=logits,
    )


def create_two_folds() -> tuple[Fold, ...]:
    return split_into_folds(EXAMPLES, np.array([1, 2, 2, 1, 2]))


def test_each_fold_validates_the_examples_it_does_not_train_on() -> None:
    first, second = create_two_folds()
    assert first.validation.keys.tolist() == second.train.keys.tolist() == [0, 3]
    assert second.validation.keys.tolist() == first.train.keys.tolist() == [1, 2, 4]
    assert first.train.labels.tolist() == [1, 0, 1]
    assert torch.equal(next(first.train.iterate_parts(9)), FEATURES[[1, 2, 4]])
    batch = first.train.get_batch_source(1)(np.array([2, 0]))
    assert torch.equal(batch.features, FEATURES[[4, 1]] + 100)  # views are split with their images
    assert batch.labels.tolist() == [1, 1]


def test_pooled_results_of_two_folds_are_those_computed_by_hand() -> None:
    folds = create_two_folds()
    first = create_epoch((0.5, 1.0), (1.0, 0.5), torch.tensor([[1.0, 0.0], [5.0, 2.0]]))
    second = create_epoch(
        (0.25, 2.0), (0.5, 1 / 3), torch.tensor([[0.0, 1.0], [0.0, 3.0], [4.0, 1.0]])
    )
    correct = pool_values([np.array([True, False]), np.array([True, False, False])], folds)
    assert correct.tolist() == [True, True, False, False, False]
    pooled = pool_epochs([first, second], folds, correct)
    assert pooled.train_loss == pytest.approx((3 * 0.5 + 2 * 0.25) / 5)
    assert pooled.train_accuracy == pytest.approx((3 * 1.0 + 2 * 0.5) / 5)
    assert pooled.val_loss == pytest.approx((2 * 1.0 + 3 * 2.0) / 5)
    assert pooled.val_accuracy == 2 / 5
    assert (pooled.number, pooled.current_lr, pooled.seconds) == (3, 0.1, 3.0)
    assert pooled.val_logits.tolist() == [[1, 0], [0, 1], [0, 3], [5, 2], [4, 1]]


def test_the_epoch_of_a_single_fold_is_not_changed() -> None:
    folds = create_single_fold(EXAMPLES, EXAMPLES)
    epoch = create_epoch((0.1, 0.7), (0.9, 0.3), torch.zeros(5, 2))
    assert pool_epochs([epoch], folds, np.zeros(5, bool)) is epoch
