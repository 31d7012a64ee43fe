"""Folds: who trains and judges where, and figures of two folds pooled by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from veduta.training.folds import Fold, divided, pooled, pooled_epoch, undivided
from veduta.training.loop import Epoch
from veduta.training.state import Examples

FEATURES = torch.arange(10.0).reshape(5, 2)
EXAMPLES = Examples(
    FEATURES, torch.tensor([0, 1, 0, 1, 1]), np.arange(5, dtype=np.uint64), (FEATURES + 100,)
)


def epoch(losses: tuple[float, float], accuracies: tuple[float, float], logits: Tensor) -> Epoch:
    (train_loss, val_loss), (train_accuracy, val_accuracy) = losses, accuracies
    return Epoch(
        3,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        lr_now=0.1,
        seconds=1.5,
        val_logits=logits,
    )


def two() -> tuple[Fold, ...]:
    return divided(EXAMPLES, np.array([1, 2, 2, 1, 2]))


def test_each_fold_judges_what_it_does_not_train_on() -> None:
    first, second = two()
    assert first.validation.keys.tolist() == second.train.keys.tolist() == [0, 3]
    assert second.validation.keys.tolist() == first.train.keys.tolist() == [1, 2, 4]
    assert first.train.labels.tolist() == [1, 0, 1]
    assert torch.equal(next(first.train.parts(9)), FEATURES[[1, 2, 4]])
    batch = first.train.seen_in(1)(np.array([2, 0]))
    seen, labels = batch.features, batch.labels
    assert torch.equal(seen, FEATURES[[4, 1]] + 100)  # the views are divided with their images
    assert labels.tolist() == [1, 1]


def test_two_folds_by_hand() -> None:
    folds = two()
    one = epoch((0.5, 1.0), (1.0, 0.5), torch.tensor([[1.0, 0.0], [5.0, 2.0]]))
    other = epoch((0.25, 2.0), (0.5, 1 / 3), torch.tensor([[0.0, 1.0], [0.0, 3.0], [4.0, 1.0]]))
    hits = pooled([np.array([True, False]), np.array([True, False, False])], folds)
    assert hits.tolist() == [True, True, False, False, False]
    both = pooled_epoch([one, other], folds, hits)
    assert both.train_loss == pytest.approx((3 * 0.5 + 2 * 0.25) / 5)
    assert both.train_accuracy == pytest.approx((3 * 1.0 + 2 * 0.5) / 5)
    assert both.val_loss == pytest.approx((2 * 1.0 + 3 * 2.0) / 5)
    assert both.val_accuracy == 2 / 5
    assert (both.number, both.lr_now, both.seconds) == (3, 0.1, 3.0)
    assert both.val_logits.tolist() == [[1, 0], [0, 1], [0, 3], [5, 2], [4, 1]]


def test_one_part_that_chooses_stays_as_it_is() -> None:
    folds = undivided(EXAMPLES, EXAMPLES)
    one = epoch((0.1, 0.7), (0.9, 0.3), torch.zeros(5, 2))
    assert pooled_epoch([one], folds, np.zeros(5, bool)) is one
