"""Folds by a plain loop: `fit` alone on each fold, its figures pooled by hand, image by image.

Both executors must give what this gives, in float64 within 1e-9.
"""

from typing import Any

import numpy as np
import pytest
import torch

from tests.contracts.test_fused import CLASSES, FEATURES, differences, examples, trials_of
from tests.support.trials import run_trial
from veduta.networks.heads import build_head, head_of
from veduta.training.folds import Fold, divided
from veduta.training.loop import Epoch, Training, fit
from veduta.training.state import Examples
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.fused.executor import run_tile
from veduta.tuning.executors.serial import Way
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import Finished

IMAGES = 83
WHOLE = examples(IMAGES, 5, torch.float64)
NUMBER = np.random.default_rng(0).permutation(
    np.arange(IMAGES) % 3
)  # images of each fold: 28, 28, 27
DEEP = {"hidden": (8,), "batch_norm": True}
ALL = {"schedule": "cosine", "warmup": 1.5, "label_smoothing": 0.1, "l1": 1e-4}
GRID = {"lr": (3e-3, 3e-2), "dropout": (0.0, 0.3), "weight_decay": (0.0, 1e-2)}


def part(chosen: list[int]) -> Examples:
    assert isinstance(WHOLE.features, torch.Tensor)
    return Examples(WHOLE.features[chosen], WHOLE.labels[chosen], WHOLE.keys[chosen])


def loop(trial: Trial) -> dict[str, Any]:
    """Logits of every image after every epoch, each from the training it was left out of."""
    settings = trial.settings
    logits = torch.full((settings.epochs, IMAGES, CLASSES), torch.nan, dtype=torch.float64)
    train_loss = np.zeros(settings.epochs)
    trained = 0
    for number in range(3):
        held = [i for i in range(IMAGES) if NUMBER[i] == number]
        others = [i for i in range(IMAGES) if NUMBER[i] != number]
        network = build_head(head_of(settings, FEATURES, CLASSES), settings.seed).double()
        trained += len(others)
        came = fit(Training(network, part(others), settings), part(held))
        for place, epoch in enumerate(came):
            logits[place, held] = epoch.val_logits
            train_loss[place] += epoch.train_loss * len(others)
    right = logits.argmax(2) == WHOLE.labels
    nll = -logits.log_softmax(2)[:, range(IMAGES), WHOLE.labels].mean(1)
    return {
        "val_loss": nll.tolist(),
        "val_accuracy": (right.sum(1).double() / IMAGES).tolist(),
        "train_loss": train_loss / trained,
        "hits": right.numpy(),
        "logits": logits,
    }


def fused(found: list[Trial], folds: tuple[Fold, ...]) -> dict[str, tuple[list[Epoch], Any]]:
    tile = tuple(sorted(found, key=lambda trial: trial.settings.dropout))
    came: dict[str, tuple[list[Epoch], Any]] = {}
    epochs: dict[str, list[Epoch]] = {trial.id: [] for trial in found}
    for seen in run_tile(tile, folds, classes=CLASSES):
        for trial, epoch in seen.epochs:
            epochs[trial.id].append(epoch)
        came |= {trial.id: (epochs[trial.id], end) for trial, end in seen.ended}
    return came


def serial(found: list[Trial], folds: tuple[Fold, ...]) -> dict[str, tuple[list[Epoch], Finished]]:
    came = {}
    for trial in found:
        epochs: list[Epoch] = []
        end = run_trial(trial, folds, way=Way(CLASSES), record=epochs.append)
        came[trial.id] = epochs, end
    return came


@pytest.mark.parametrize("executor", [fused, serial])
@pytest.mark.parametrize("base", [{}, DEEP, ALL], ids=["linear", "mlp", "schedule"])
def test_every_image_is_judged_once_by_a_training_without_it(
    executor: Any,
    base: dict[str, Any],
) -> None:
    found = trials_of({**base, "epochs": 6}, GRID)
    came = executor(found, divided(WHOLE, NUMBER))
    for trial in found:
        (epochs, end), expected = came[trial.id], loop(trial)
        assert [epoch.val_accuracy for epoch in epochs] == expected["val_accuracy"]
        assert [e.val_loss for e in epochs] == pytest.approx(expected["val_loss"], abs=1e-9)
        assert [e.train_loss for e in epochs] == pytest.approx(expected["train_loss"], abs=1e-9)
        best = int(np.argmax(expected["val_accuracy"]))
        assert end.outcome.best_epoch == best + 1
        assert (end.hits == expected["hits"]).all()
        assert (end.outcome.hits == expected["hits"][best]).all()
        assert (end.val_logits - expected["logits"][best]).abs().max() < 1e-9


def test_patience_looks_at_all_folds_together() -> None:
    found = trials_of({"lr": 3e-2, "epochs": 30}, {"patience": (1, 3), "dropout": (0.0, 0.3)})
    folds = divided(WHOLE, NUMBER)
    mine, theirs = fused(found, folds), serial(found, folds)
    stops = set()
    for trial in found:
        losses = loop(trial)["val_loss"]
        best = waited = 0
        for place, loss in enumerate(losses):  # until `patience` epochs bring no better loss
            best, waited = (place, 0) if loss < losses[best] or not place else (best, waited + 1)
            if waited == trial.settings.patience:
                break
        stops.add(place + 1)
        for came in (mine, theirs):
            assert came[trial.id][1].outcome.epochs == place + 1
        assert max(differences(mine[trial.id][1], theirs[trial.id][1]).values()) < 1e-9
    assert max(stops) < 30
    assert len(stops) > 1


def test_a_trial_fails_where_one_of_its_folds_fails() -> None:
    whole = examples(IMAGES, 5, torch.float64)
    assert isinstance(whole.features, torch.Tensor)
    place = int(np.flatnonzero(NUMBER == 1)[0])
    whole.features[place] = torch.inf  # trains in folds 0 and 2, judges in fold 1
    found = trials_of({"epochs": 2, "optimizer": "sgd"}, {"lr": (1e-3, 1e-2)})
    first, second, third = divided(whole, NUMBER)
    for folds, kind in (
        ((first, second, third), "it became"),
        ((second, third, first), "after epoch 1 it is"),
    ):
        with pytest.raises(NotFiniteError, match=kind):
            serial(found, folds)
        for _, end in fused(found, folds).values():
            assert isinstance(end, NotFiniteError)
            assert kind in str(end)
