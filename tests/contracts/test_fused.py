"""The equality contract: each trial of a fused tile is the trial that the serial executor runs.

In float64 within 1e-9 after 20 epochs, so the formulas are the same; in float32 as near as rounding
allows.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.contracts.test_heads import (
    HEADS,
    LABELS,
    X,
    flat,
    foundations_of,
    smoothed,
    uniforms,
)
from tests.support.trials import run_trial
from veduta.config.settings import Settings
from veduta.foundations import regularization, training
from veduta.networks.heads import ACTIVATIONS, Head, build_head
from veduta.optim import vectorized as vectorised
from veduta.optim.optimizers import OPTIMIZERS
from veduta.optim.schedules import SCHEDULES
from veduta.optim.vectorized import VectorisedOptimizer
from veduta.runtime.streams import mix
from veduta.training.folds import undivided
from veduta.training.loop import Epoch
from veduta.training.state import Examples
from veduta.tuning.executors.fused.executor import run_tile
from veduta.tuning.executors.fused.head import FusedHead
from veduta.tuning.executors.serial import Way
from veduta.tuning.trials.groups import groups, tiles
from veduta.tuning.trials.space import Trial, cells, trials
from veduta.tuning.trials.state import Finished

FEATURES, CLASSES = 12, 3
SHARED = {"lr": (3e-3, 1e-2), "weight_decay": (0.0, 1e-2), "dropout": (0.0, 0.3)}
BASE = {"epochs": 20, "batch_size": 16}
MOMENTA = {"momentum": (0.0, 0.9)}
DEEP = {"hidden": (8, 6), "batch_norm": True}
REGULAR = {
    "l1": (0.0, 1e-3),
    "label_smoothing": (0.0, 0.1),
    "warmup": (0.0, 1.5),
}
SCHEDULED = {"schedule": tuple(SCHEDULES), "warmup": (0.0, 0.7), "epochs": (15, 20)}
KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "weight_decay": 1e-2},
    "nesterov": {"optimizer": "sgd", "nesterov": True, "schedule": "cosine"},
    **{name: {"optimizer": name, "weight_decay": 1e-2} for name in OPTIMIZERS if name != "sgd"},
}
DROPPED = {**DEEP, "dropout": 0.3}
CASES: dict[str, tuple[dict[str, Any], dict[str, tuple[Any, ...]]]] = {
    "sgd": ({"optimizer": "sgd"}, {**SHARED, **MOMENTA}),
    "nesterov": (
        {"optimizer": "sgd", "nesterov": True},
        {**SHARED, "momentum": (0.5, 0.9)},
    ),
    "adam": ({}, {**SHARED, "betas": ((0.9, 0.999), (0.8, 0.99))}),
    "adamw": ({"optimizer": "adamw"}, {**SHARED, "betas": ((0.9, 0.999), (0.8, 0.99))}),
    "rmsprop": ({"optimizer": "rmsprop"}, SHARED),
    "adagrad": ({"optimizer": "adagrad"}, SHARED),
    "mlp, sgd": ({"optimizer": "sgd", **DEEP}, {**SHARED, **MOMENTA}),
    "mlp, adam": (DEEP, SHARED),
    "mlp, adamw": ({"optimizer": "adamw", **DEEP}, SHARED),
    "mlp, rmsprop": ({"optimizer": "rmsprop", **DEEP}, SHARED),
    "mlp, adagrad": ({"optimizer": "adagrad", **DEEP}, SHARED),
    "mlp without batch norm": ({"hidden": (8,)}, SHARED),
    **{name: ({**DEEP, "activation": name}, {"dropout": (0.0, 0.3)}) for name in ACTIVATIONS},
    **{f"{name}, regular": (kind, REGULAR) for name, kind in KINDS.items()},
    **{f"mlp, {name}, regular": ({**kind, **DROPPED}, REGULAR) for name, kind in KINDS.items()},
    "mlp, first layer drops": ({"hidden": (8, 6), "dropout_layers": 1}, SHARED),
    "mlp, activation first": ({**DEEP, "norm_first": False}, SHARED),
    "schedules": ({}, SCHEDULED),
    "stops": (
        {"lr": 0.05},
        {"stop_gap": (None, 0.02), "stop_at": (None, 0.9), "patience": (None, 2)},
    ),
    "mlp, schedules": ({**KINDS["sgd"], **DROPPED}, SCHEDULED),
}
case = pytest.mark.parametrize(("base", "grid"), CASES.values(), ids=CASES)


def examples(count: int, seed: int, dtype: torch.dtype) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    centres = torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(77))
    features = torch.randn(count, FEATURES, generator=generator) * 1.5 + centres[labels]
    keys = mix(np.arange(count, dtype=np.uint64) + np.uint64(1000 * seed))
    return Examples(features.to(dtype), labels, keys)


def with_views(plain: Examples, count: int) -> Examples:
    """The same images, with noisy views."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(count, *plain.features.shape, generator=generator)
    assert isinstance(plain.features, torch.Tensor)
    views = tuple((plain.features + one).to(plain.dtype) for one in noise)
    return Examples(plain.features, plain.labels, plain.keys, views)


def data(dtype: torch.dtype, views: int = 0) -> tuple[Examples, Examples]:
    return with_views(examples(97, 1, dtype), views), examples(250, 2, dtype)  # a last image alone


def trials_of(base: Mapping[str, Any], grid: Mapping[str, tuple[Any, ...]]) -> list[Trial]:
    return trials(cells(Settings(**{**BASE, **base}), dict(grid)))


Came = tuple[list[Epoch], Finished]


def fused(found: list[Trial], dtype: torch.dtype, views: int = 0) -> dict[str, Came]:
    folds = undivided(*data(dtype, views))
    epochs: dict[str, list[Epoch]] = {trial.id: [] for trial in found}
    ends: dict[str, Any] = {}
    for group in groups(found):
        for tile in tiles(group, 50):
            for came in run_tile(tile, folds, classes=CLASSES):
                for trial, epoch in came.epochs:
                    epochs[trial.id].append(epoch)
                ends |= {trial.id: end for trial, end in came.ended}
    return {name: (epochs[name], ends[name]) for name in epochs}


def serial(found: list[Trial], dtype: torch.dtype, views: int = 0) -> dict[str, Came]:
    folds = undivided(*data(dtype, views))
    came: dict[str, Came] = {}
    for trial in found:
        epochs: list[Epoch] = []
        end = run_trial(trial, folds, way=Way(CLASSES), record=epochs.append)
        came[trial.id] = epochs, end
    return came


def differences(mine: Finished, theirs: Finished) -> dict[str, float]:
    """max |dW| / max |W|, by parameter."""
    states = mine.network.state_dict(), theirs.network.state_dict()
    pairs = zip(states[0].items(), states[1].values(), strict=True)
    return {
        name: float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for (name, a), b in pairs
    }


@case
def test_in_float64_each_trial_is_the_serial_one(
    base: dict[str, Any], grid: dict[str, tuple[Any, ...]]
) -> None:
    found = trials_of(base, grid)
    mine, theirs = fused(found, torch.float64), serial(found, torch.float64)
    for name, (epochs, end) in mine.items():
        expected, reference = theirs[name]
        assert end.outcome.best_epoch == reference.outcome.best_epoch
        assert (end.hits == reference.hits).all()
        assert max(differences(end, reference).values()) < 1e-9, differences(end, reference)
        assert (end.val_logits - reference.val_logits).abs().max() < 1e-9
        assert len(epochs) == len(expected) == end.outcome.epochs
        for epoch, other in zip(epochs, expected, strict=True):
            assert (epoch.number, epoch.lr_now) == (other.number, other.lr_now)
            assert epoch.train_loss == pytest.approx(other.train_loss, abs=1e-9)
            assert epoch.val_loss == pytest.approx(other.val_loss, abs=1e-9)
            assert epoch.train_accuracy == other.train_accuracy
            assert epoch.val_accuracy == other.val_accuracy


@case
def test_in_float32_one_epoch_is_equal_but_for_rounding(
    base: dict[str, Any], grid: dict[str, tuple[Any, ...]]
) -> None:
    grid = {key: values for key, values in grid.items() if key != "epochs"}
    found = trials_of({**base, "epochs": 1}, grid)
    mine, theirs = fused(found, torch.float32), serial(found, torch.float32)
    for name, (_, end) in mine.items():
        assert max(differences(end, theirs[name][1]).values()) <= 1e-5


@case
def test_in_float32_twenty_epochs_give_the_same_labels(
    base: dict[str, Any], grid: dict[str, tuple[Any, ...]]
) -> None:
    found = trials_of(base, grid)
    mine, theirs = fused(found, torch.float32), serial(found, torch.float32)
    other = [
        (mine[name][0][-1].val_logits.argmax(1) != theirs[name][0][-1].val_logits.argmax(1))
        for name in mine
    ]
    assert torch.stack(other).double().mean() <= 0.002


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_large_parameters_are_updated_as_small_ones(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectorised, "LARGE", 10)  # all but biases
    test_in_float64_each_trial_is_the_serial_one({**kind, **DROPPED}, REGULAR)
    test_in_float32_one_epoch_is_equal_but_for_rounding({**kind, **DROPPED}, REGULAR)
    test_in_float32_one_epoch_is_equal_but_for_rounding({**kind, "dropout": 0.3}, REGULAR)


@pytest.mark.parametrize("base", [{}, DROPPED], ids=["linear", "mlp"])
def test_views_are_those_of_the_serial_executor(base: dict[str, Any]) -> None:
    found = trials_of({**base, "epochs": 5}, {"lr": (3e-3, 1e-2), "weight_decay": (0.0, 1e-2)})
    mine, theirs = (run(found, torch.float64, views=3) for run in (fused, serial))
    plain = fused(found, torch.float64)
    for name, (epochs, end) in mine.items():
        assert max(differences(end, theirs[name][1]).values()) < 1e-9
        assert epochs[-1].train_loss == pytest.approx(theirs[name][0][-1].train_loss, abs=1e-9)
        assert differences(end, plain[name][1])["dense.0.weight"] > 1e-3


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_step_is_the_foundations_step(head: Head) -> None:
    rates = (0.0, head.dropout, head.dropout / 2) if head.dropout else (0.0, 0.0, 0.0)
    network = build_head(head, seed=0).double()
    smoothing = (0.0, 0.1, 0.4)
    fused_head = FusedHead(network, rates, smoothing)
    settings = [
        Settings(optimizer="sgd", momentum=0.0, lr=lr, weight_decay=decay, l1=l1)
        for lr, decay, l1 in ((0.1, 0.05, 0.0), (0.01, 0.0, 0.02), (1.0, 0.5, 0.1))
    ]
    optimizer = VectorisedOptimizer(settings, fused_head.parameters, fused_head.gradients, steps=1)
    shapes = {name: value.dim() for name, value in network.state_dict().items()}
    losses = fused_head.train_step(torch.tensor(X), torch.tensor(LABELS), uniforms)
    gradients = {name: value.clone() for name, value in fused_head.gradients.items()}
    optimizer.step()
    for place, rate in enumerate(rates):
        alone = build_head(replace(head, dropout=rate), seed=0).double()
        layers = foundations_of(alone)
        z = training.forward(layers, X, training=True)
        loss, delta = smoothed(z, smoothing[place])
        assert losses[place].item() == pytest.approx(loss, abs=1e-12)
        training.backward(layers, delta)
        for name, w, gradient in zip(
            in_order(head), flat(layers, "weights"), flat(layers, "gradients"), strict=True
        ):
            found = gradients[name][place].numpy() if name in gradients else 0.0
            assert np.abs(gradient - found).max() < 1e-12
            one, weight = settings[place], shapes[name] == 2
            penalty = regularization.l1_gradient(w, lam=2 * one.l1 if weight else 0.0, n=1)
            stepped = regularization.weight_decay_step(
                w, gradient + penalty, lr=one.lr, lam=one.weight_decay if weight else 0.0, n=1
            )
            assert np.abs(fused_head.state[name][place].numpy() - stepped).max() < 1e-12


def in_order(head: Head) -> list[str]:
    """Names of parameters in the order in which the foundations' layers hold theirs."""
    names = []
    for number in range(len(head.hidden) + 1):
        names += [f"dense.{number}.weight", f"dense.{number}.bias"]
        if head.batch_norm and number < len(head.hidden):
            names += [f"norms.{number}.weight", f"norms.{number}.bias"]
    return names
