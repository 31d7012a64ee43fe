"""Cross-validation against a plain loop: `fit` on each fold, pooled by hand, image by image.

Both executors agree with the loop within 1e-9 in float64.
"""

from typing import Any

import numpy as np
import pytest
import torch

from tests.support.trials import (
    CLASSES,
    FEATURES,
    TrainedTrial,
    build_grid_trials,
    compute_differences,
    create_examples,
    run_trial,
)
from veduta.networks.heads import build_head_network, describe_head
from veduta.training.examples import Examples
from veduta.training.folds import Fold, split_into_folds
from veduta.training.loop import Epoch, Training, fit
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.fused.executor import run_fused
from veduta.tuning.executors.serial import TrainingContext
from veduta.tuning.trials.space import Trial

IMAGES = 83
DATA = create_examples(IMAGES, 5, torch.float64)
FOLD_OF_IMAGE = np.random.default_rng(0).permutation(
    np.arange(IMAGES) % 3
)  # images of each fold: 28, 28, 27
DEEP = {"hidden": (8,), "batch_norm": True}
SCHEDULED = {"schedule": "cosine", "warmup": 1.5, "label_smoothing": 0.1, "l1": 1e-4}
GRID = {"lr": (3e-3, 3e-2), "dropout": (0.0, 0.3), "weight_decay": (0.0, 1e-2)}


def select(indices: list[int]) -> Examples:
    assert isinstance(DATA.features, torch.Tensor)
    return Examples(DATA.features[indices], DATA.labels[indices], DATA.keys[indices])


def train_by_loop(trial: Trial) -> dict[str, Any]:
    """Return the results of a trial, each image evaluated by the training without it."""
    settings = trial.settings
    logits = torch.full((settings.epochs, IMAGES, CLASSES), torch.nan, dtype=torch.float64)
    train_loss = np.zeros(settings.epochs)
    trained = 0
    for number in range(3):
        held_out = [i for i in range(IMAGES) if FOLD_OF_IMAGE[i] == number]
        others = [i for i in range(IMAGES) if FOLD_OF_IMAGE[i] != number]
        network = build_head_network(
            describe_head(settings, FEATURES, CLASSES), settings.seed
        ).double()
        trained += len(others)
        epochs = fit(Training(network, select(others), settings), select(held_out))
        for index, epoch in enumerate(epochs):
            logits[index, held_out] = epoch.val_logits
            train_loss[index] += epoch.train_loss * len(others)
    correct = logits.argmax(2) == DATA.labels
    nll = -logits.log_softmax(2)[:, range(IMAGES), DATA.labels].mean(1)
    return {
        "val_loss": nll.tolist(),
        "val_accuracy": (correct.sum(1).double() / IMAGES).tolist(),
        "train_loss": train_loss / trained,
        "correct": correct.numpy(),
        "logits": logits,
    }


def train_fused(trials: list[Trial], folds: tuple[Fold, ...]) -> dict[str, tuple[list[Epoch], Any]]:
    tile = tuple(sorted(trials, key=lambda trial: trial.settings.dropout))
    trained: dict[str, tuple[list[Epoch], Any]] = {}
    epochs: dict[str, list[Epoch]] = {trial.id: [] for trial in trials}
    for result in run_fused(tile, folds, classes=CLASSES):
        for trial, epoch in result.epochs:
            epochs[trial.id].append(epoch)
        trained |= {trial.id: (epochs[trial.id], end) for trial, end in result.ended}
    return trained


def train_serially(trials: list[Trial], folds: tuple[Fold, ...]) -> dict[str, TrainedTrial]:
    trained = {}
    for trial in trials:
        epochs: list[Epoch] = []
        end = run_trial(trial, folds, context=TrainingContext(CLASSES), record=epochs.append)
        trained[trial.id] = epochs, end
    return trained


@pytest.mark.parametrize("train", [train_fused, train_serially])
@pytest.mark.parametrize("base", [{}, DEEP, SCHEDULED], ids=["linear", "mlp", "schedule"])
def test_every_image_is_evaluated_once_by_a_training_without_it(
    train: Any,
    base: dict[str, Any],
) -> None:
    trials = build_grid_trials({**base, "epochs": 6}, GRID)
    trained = train(trials, split_into_folds(DATA, FOLD_OF_IMAGE))
    for trial in trials:
        (epochs, end), expected = trained[trial.id], train_by_loop(trial)
        assert [epoch.val_accuracy for epoch in epochs] == expected["val_accuracy"]
        assert [e.val_loss for e in epochs] == pytest.approx(expected["val_loss"], abs=1e-9)
        assert [e.train_loss for e in epochs] == pytest.approx(expected["train_loss"], abs=1e-9)
        best = int(np.argmax(expected["val_accuracy"]))
        assert end.outcome.best_epoch == best + 1
        assert (end.correct == expected["correct"]).all()
        assert (end.outcome.correct == expected["correct"][best]).all()
        assert (end.val_logits - expected["logits"][best]).abs().max() < 1e-9


def test_patience_applies_to_all_folds_together() -> None:
    trials = build_grid_trials(
        {"lr": 3e-2, "epochs": 30}, {"patience": (1, 3), "dropout": (0.0, 0.3)}
    )
    folds = split_into_folds(DATA, FOLD_OF_IMAGE)
    fused, serial = train_fused(trials, folds), train_serially(trials, folds)
    last_epochs = set()
    for trial in trials:
        losses = train_by_loop(trial)["val_loss"]
        best = waited = 0
        for index, loss in enumerate(losses):  # until `patience` epochs bring no better loss
            best, waited = (index, 0) if loss < losses[best] or not index else (best, waited + 1)
            if waited == trial.settings.patience:
                break
        last_epochs.add(index + 1)
        for trained in (fused, serial):
            assert trained[trial.id][1].outcome.epochs_trained == index + 1
        assert max(compute_differences(fused[trial.id][1], serial[trial.id][1]).values()) < 1e-9
    assert max(last_epochs) < 30
    assert len(last_epochs) > 1


def test_a_trial_fails_where_one_of_its_folds_fails() -> None:
    data = create_examples(IMAGES, 5, torch.float64)
    assert isinstance(data.features, torch.Tensor)
    index = int(np.flatnonzero(FOLD_OF_IMAGE == 1)[0])
    data.features[index] = torch.inf  # a training image of folds 0 and 2
    trials = build_grid_trials({"epochs": 2, "optimizer": "sgd"}, {"lr": (1e-3, 1e-2)})
    first, second, third = split_into_folds(data, FOLD_OF_IMAGE)
    for folds, message in (
        ((first, second, third), "must be finite; got"),
        ((second, third, first), "after epoch 1: lower"),
    ):
        with pytest.raises(NotFiniteError, match=message):
            train_serially(trials, folds)
        for _, end in train_fused(trials, folds).values():
            assert isinstance(end, NotFiniteError)
            assert message in str(end)
