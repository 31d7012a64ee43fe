"""The fused executor gives each trial the result that the serial executor gives it.

In float64 the results agree within 1e-9 after 20 epochs, so the formulas are the same; in float32
they agree up to rounding.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.heads import (
    HEADS,
    LABELS,
    X,
    build_foundations,
    compute_smoothed_loss,
    draw_uniforms,
    list_arrays,
)
from tests.support.trials import (
    build_grid_trials,
    compute_differences,
    train_fused,
    train_serially,
)
from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.foundations import regularization, training
from veduta.networks.catalogue.builtin import ACTIVATIONS
from veduta.networks.heads import build_head_network
from veduta.optim import vectorized
from veduta.optim.optimizers import OPTIMIZERS
from veduta.optim.schedules import SCHEDULES
from veduta.optim.vectorized import VectorizedOptimizer
from veduta.tuning.executors.fused.head import FusedHead

SHARED = {"lr": (3e-3, 1e-2), "weight_decay": (0.0, 1e-2), "dropout": (0.0, 0.3)}
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
    "mlp, dropout after one layer": ({"hidden": (8, 6), "dropout_layers": 1}, SHARED),
    "mlp, activation first": ({**DEEP, "norm_first": False}, SHARED),
    "schedules": ({}, SCHEDULED),
    "stopping rules": (
        {"lr": 0.05},
        {"stop_gap": (None, 0.02), "stop_at": (None, 0.9), "patience": (None, 2)},
    ),
    "mlp, schedules": ({**KINDS["sgd"], **DROPPED}, SCHEDULED),
}
case = pytest.mark.parametrize(("base", "grid"), CASES.values(), ids=CASES)


@case
def test_in_float64_results_agree(base: dict[str, Any], grid: dict[str, tuple[Any, ...]]) -> None:
    trials = build_grid_trials(base, grid)
    fused, serial = train_fused(trials, torch.float64), train_serially(trials, torch.float64)
    for name, (epochs, end) in fused.items():
        expected, reference = serial[name]
        assert end.outcome.best_epoch == reference.outcome.best_epoch
        assert (end.correct == reference.correct).all()
        assert max(compute_differences(end, reference).values()) < 1e-9, compute_differences(
            end, reference
        )
        assert (end.val_logits - reference.val_logits).abs().max() < 1e-9
        assert len(epochs) == len(expected) == end.outcome.epochs_trained
        for epoch, other in zip(epochs, expected, strict=True):
            assert (epoch.number, epoch.current_lr) == (other.number, other.current_lr)
            assert epoch.train_loss == pytest.approx(other.train_loss, abs=1e-9)
            assert epoch.val_loss == pytest.approx(other.val_loss, abs=1e-9)
            assert epoch.train_accuracy == other.train_accuracy
            assert epoch.val_accuracy == other.val_accuracy


@case
def test_in_float32_one_epoch_agrees_up_to_rounding(
    base: dict[str, Any], grid: dict[str, tuple[Any, ...]]
) -> None:
    grid = {key: values for key, values in grid.items() if key != "epochs"}
    trials = build_grid_trials({**base, "epochs": 1}, grid)
    fused, serial = train_fused(trials, torch.float32), train_serially(trials, torch.float32)
    for name, (_, end) in fused.items():
        assert max(compute_differences(end, serial[name][1]).values()) <= 1e-5


@case
def test_in_float32_twenty_epochs_give_the_same_predictions(
    base: dict[str, Any], grid: dict[str, tuple[Any, ...]]
) -> None:
    trials = build_grid_trials(base, grid)
    fused, serial = train_fused(trials, torch.float32), train_serially(trials, torch.float32)
    disagreements = [
        (fused[name][0][-1].val_logits.argmax(1) != serial[name][0][-1].val_logits.argmax(1))
        for name in fused
    ]
    assert torch.stack(disagreements).double().mean() <= 0.002


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_large_parameters_are_updated_like_small_ones(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectorized, "KERNEL_THRESHOLD", 10)  # all but biases
    test_in_float64_results_agree({**kind, **DROPPED}, REGULAR)
    test_in_float32_one_epoch_agrees_up_to_rounding({**kind, **DROPPED}, REGULAR)
    test_in_float32_one_epoch_agrees_up_to_rounding({**kind, "dropout": 0.3}, REGULAR)


@pytest.mark.parametrize("base", [{}, DROPPED], ids=["linear", "mlp"])
def test_views_give_the_results_of_the_serial_executor(base: dict[str, Any]) -> None:
    trials = build_grid_trials(
        {**base, "epochs": 5}, {"lr": (3e-3, 1e-2), "weight_decay": (0.0, 1e-2)}
    )
    fused, serial = (
        train(trials, torch.float64, views=3) for train in (train_fused, train_serially)
    )
    plain = train_fused(trials, torch.float64)
    for name, (epochs, end) in fused.items():
        assert max(compute_differences(end, serial[name][1]).values()) < 1e-9
        assert epochs[-1].train_loss == pytest.approx(serial[name][0][-1].train_loss, abs=1e-9)
        assert compute_differences(end, plain[name][1])["dense.0.weight"] > 1e-3


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_step_equals_the_step_of_the_foundations(head: Head) -> None:
    rates = (0.0, head.dropout, head.dropout / 2) if head.dropout else (0.0, 0.0, 0.0)
    network = build_head_network(head, seed=0).double()
    smoothing = (0.0, 0.1, 0.4)
    fused_head = FusedHead(network, rates, smoothing)
    settings = [
        Settings(optimizer="sgd", momentum=0.0, lr=lr, weight_decay=decay, l1=l1)
        for lr, decay, l1 in ((0.1, 0.05, 0.0), (0.01, 0.0, 0.02), (1.0, 0.5, 0.1))
    ]
    optimizer = VectorizedOptimizer(settings, fused_head.parameters, fused_head.gradients, steps=1)
    shapes = {name: value.dim() for name, value in network.state_dict().items()}
    losses = fused_head.train_step(torch.tensor(X), torch.tensor(LABELS), draw_uniforms)
    gradients = {name: value.clone() for name, value in fused_head.gradients.items()}
    optimizer.step()
    for index, rate in enumerate(rates):
        single = build_head_network(replace(head, dropout=rate), seed=0).double()
        layers = build_foundations(single)
        z = training.forward(layers, X, training=True)
        loss, delta = compute_smoothed_loss(z, smoothing[index])
        assert losses[index].item() == pytest.approx(loss, abs=1e-12)
        training.backward(layers, delta)
        for name, w, gradient in zip(
            list_names(head),
            list_arrays(layers, "weights"),
            list_arrays(layers, "gradients"),
            strict=True,
        ):
            actual = gradients[name][index].numpy() if name in gradients else 0.0
            assert np.abs(gradient - actual).max() < 1e-12
            trial, is_weight = settings[index], shapes[name] == 2
            penalty = regularization.l1_gradient(w, lam=2 * trial.l1 if is_weight else 0.0, n=1)
            stepped = regularization.weight_decay_step(
                w,
                gradient + penalty,
                lr=trial.lr,
                lam=trial.weight_decay if is_weight else 0.0,
                n=1,
            )
            assert np.abs(fused_head.state[name][index].numpy() - stepped).max() < 1e-12


def list_names(head: Head) -> list[str]:
    """Return the names of the parameters in the order of those of the foundations' layers."""
    names = []
    for number in range(len(head.hidden) + 1):
        names += [f"dense.{number}.weight", f"dense.{number}.bias"]
        if head.batch_norm and number < len(head.hidden):
            names += [f"norms.{number}.weight", f"norms.{number}.bias"]
    return names
