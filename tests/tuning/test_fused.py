"""The fused executor: reproducible results, isolated failures, early stopping, compaction."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch

from tests.support.trials import (
    CLASSES,
    build_grid_trials,
    compute_differences,
    create_data,
    train_fused,
    train_serially,
)
from veduta.training.folds import create_single_fold
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.fused.executor import COMPACTION_FRACTION, run_fused
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import FinishedTrial

WIDE = {"lr": (1e-3, 3e-3, 1e-2, 2e-2), "dropout": (0.0, 0.3)}
DEEP = {"hidden": (8, 6), "batch_norm": True}
REGULARIZED = {
    "l1": (0.0, 1e-3),
    "label_smoothing": (0.0, 0.1),
    "schedule": ("one_cycle", "step"),
    "warmup": (0.0, 0.5),
}

Compactions = list[tuple[int, list[str]]]
"""Epoch and remaining trials of every compaction."""


def train_tile(
    trials: Sequence[Trial], dtype: torch.dtype = torch.float32
) -> tuple[dict[str, Any], Compactions]:
    """Train all trials as one tile; return the ends by trial id, and the compactions."""
    train, validation = create_data(dtype)
    tile = tuple(sorted(trials, key=lambda trial: trial.settings.dropout))
    ends: dict[str, Any] = {}
    compactions = []
    for result in run_fused(tile, create_single_fold(train, validation), classes=CLASSES):
        ends |= {trial.id: end for trial, end in result.ended}
        if result.remaining is not None:
            compactions.append((result.number, [trial.id for trial in result.remaining]))
    return ends, compactions


def are_equal(first: FinishedTrial, second: FinishedTrial) -> bool:
    """Return whether weights and logits are equal bit for bit."""
    states = first.network.state_dict(), second.network.state_dict()
    same_weights = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    return same_weights and torch.equal(first.val_logits, second.val_logits)


@pytest.mark.parametrize("grid", [WIDE, REGULARIZED], ids=["wide", "regularized"])
@pytest.mark.parametrize("base", [{}, DEEP], ids=["linear", "mlp"])
def test_a_tile_gives_the_same_bits_twice(base: dict[str, Any], grid: dict[str, Any]) -> None:
    trials = build_grid_trials({**base, "epochs": 4}, grid)
    (first, _), (second, _) = train_tile(trials), train_tile(trials)
    assert all(are_equal(first[trial.id], second[trial.id]) for trial in trials)


@pytest.mark.parametrize("grid", [WIDE, REGULARIZED], ids=["wide", "regularized"])
def test_results_do_not_depend_on_the_order_of_the_grid(grid: dict[str, Any]) -> None:
    reversed_grid = {name: values[::-1] for name, values in reversed(grid.items())}
    first = train_fused(build_grid_trials({"epochs": 3}, grid), torch.float32)
    second = train_fused(build_grid_trials({"epochs": 3}, reversed_grid), torch.float32)
    assert list(first) == list(second)
    assert all(are_equal(first[trial][1], second[trial][1]) for trial in first)


@pytest.mark.parametrize("base", [{}, DEEP], ids=["linear", "mlp"])
def test_a_failing_trial_does_not_change_the_others(base: dict[str, Any]) -> None:
    base = {**base, "optimizer": "sgd", "epochs": 4}
    healthy = build_grid_trials(base, {"lr": (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 1e-2)})
    trials = build_grid_trials(base, {"lr": (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 1e38)})
    (expected, _), (ends, compactions) = train_tile(healthy), train_tile(trials)
    failed = trials[-1].id
    assert isinstance(ends[failed], NotFiniteError)
    assert "learning rate" in str(ends[failed])
    assert not compactions, "five of six trials are active: more than COMPACTION_FRACTION"
    assert all(are_equal(ends[trial.id], expected[trial.id]) for trial in trials[:-1])


def test_a_failure_has_the_message_of_the_serial_executor() -> None:
    trials = build_grid_trials({"optimizer": "sgd", "epochs": 4}, {"lr": (1e-3, 1e38)})
    with pytest.raises(NotFiniteError) as serial_error:
        train_serially(trials[1:], torch.float32)
    ends, compactions = train_tile(trials)
    assert str(ends[trials[1].id]) == str(serial_error.value)
    assert compactions == [(1, [trials[0].id])]


@pytest.mark.parametrize(
    "more",
    [{"dropout": (0.0, 0.3)}, {"schedule": ("constant", "cosine"), "label_smoothing": (0.0, 0.2)}],
    ids=["dropout", "regularized"],
)
@pytest.mark.parametrize("base", [{}, DEEP], ids=["linear", "mlp"])
def test_early_stopping_and_compaction_change_no_result(
    base: dict[str, Any], more: dict[str, Any]
) -> None:
    base = {**base, "lr": 3e-2}
    trials = build_grid_trials(base, {"patience": (1, 2, 4), "epochs": (5, 12), **more})
    serial = train_serially(trials, torch.float64)
    ends, compactions = train_tile(trials, torch.float64)
    assert len({end.outcome.epochs_trained for end in ends.values()}) > 2
    assert len(compactions) > 1
    widths = [len(trials), *(len(remaining) for _, remaining in compactions)]
    assert all(after <= COMPACTION_FRACTION * before for before, after in pairwise(widths))
    for trial_id, end in ends.items():
        reference = serial[trial_id][1]
        assert end.outcome.epochs_trained == reference.outcome.epochs_trained
        assert end.outcome.best_epoch == reference.outcome.best_epoch
        assert end.outcome.cost == reference.outcome.cost
        assert max(compute_differences(end, reference).values()) < 1e-9


def test_a_tile_is_compacted_at_the_same_epochs_each_time() -> None:
    trials = build_grid_trials({}, {"epochs": (3, 2, 7), "lr": (1e-3, 1e-2)})
    (first, first_compactions), (second, second_compactions) = (
        train_tile(trials),
        train_tile(trials),
    )
    assert first_compactions == second_compactions
    assert [(epoch, len(remaining)) for epoch, remaining in first_compactions] == [(2, 4), (3, 2)]
    assert all(are_equal(first[trial.id], second[trial.id]) for trial in trials)
