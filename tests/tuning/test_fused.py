"""The fused executor: same bits twice, failure that stays alone, early stopping, compaction."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from tests.contracts.test_fused import CLASSES, data, differences, fused, serial, trials_of
from veduta.training.folds import undivided
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.fused.executor import FULL, run_tile
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import Finished

WIDE = {"lr": (1e-3, 3e-3, 1e-2, 2e-2), "dropout": (0.0, 0.3)}
DEEP = {"hidden": (8, 6), "batch_norm": True}
REGULAR = {
    "l1": (0.0, 1e-3),
    "label_smoothing": (0.0, 0.1),
    "schedule": ("one_cycle", "step"),
    "warmup": (0.0, 0.5),
}


def ran(found: list[Trial], dtype: torch.dtype = torch.float32) -> tuple[dict[str, Any], list[Any]]:
    """One tile of all: how each trial ended, and who was left at each compaction."""
    train, validation = data(dtype)
    tile = tuple(sorted(found, key=lambda trial: trial.settings.dropout))
    ends: dict[str, Any] = {}
    left = []
    for came in run_tile(tile, undivided(train, validation), classes=CLASSES):
        ends |= {trial.id: end for trial, end in came.ended}
        if came.kept is not None:
            left.append((came.number, [trial.id for trial in came.kept]))
    return ends, left


def same_bits(one: Finished, other: Finished) -> bool:
    states = one.network.state_dict(), other.network.state_dict()
    equal = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    return equal and torch.equal(one.val_logits, other.val_logits)


@pytest.mark.parametrize("grid", [WIDE, REGULAR], ids=["wide", "regular"])
@pytest.mark.parametrize("base", [{}, DEEP], ids=["linear", "mlp"])
def test_the_same_tile_gives_the_same_bits(base: dict[str, Any], grid: dict[str, Any]) -> None:
    found = trials_of({**base, "epochs": 4}, grid)
    one, other = ran(found)[0], ran(found)[0]
    assert all(same_bits(one[name], other[name]) for name in one)


@pytest.mark.parametrize("grid", [WIDE, REGULAR], ids=["wide", "regular"])
def test_the_order_of_the_grid_means_nothing(grid: dict[str, Any]) -> None:
    turned = {name: values[::-1] for name, values in reversed(grid.items())}
    one = fused(trials_of({"epochs": 3}, grid), torch.float32)
    other = fused(trials_of({"epochs": 3}, turned), torch.float32)
    assert list(one) == list(other)
    assert all(same_bits(one[name][1], other[name][1]) for name in one)


@pytest.mark.parametrize("base", [{}, DEEP], ids=["linear", "mlp"])
def test_a_trial_that_fails_leaves_the_others_untouched(base: dict[str, Any]) -> None:
    base = {**base, "optimizer": "sgd", "epochs": 4}
    whole = trials_of(base, {"lr": (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 1e-2)})
    broken = trials_of(base, {"lr": (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 1e38)})
    expected, (ends, left) = ran(whole)[0], ran(broken)
    failed = broken[-1].id
    assert isinstance(ends[failed], NotFiniteError)
    assert "lower the learning rate" in str(ends[failed])
    assert not left  # five of six slots at work: more than FULL
    assert all(same_bits(ends[trial.id], expected[trial.id]) for trial in broken[:-1])


def test_a_failure_says_what_the_serial_executor_says() -> None:
    found = trials_of({"optimizer": "sgd", "epochs": 4}, {"lr": (1e-3, 1e38)})
    with pytest.raises(NotFiniteError) as reason:
        serial(found[1:], torch.float32)
    ends, left = ran(found)
    assert str(ends[found[1].id]) == str(reason.value)
    assert left == [(1, [found[0].id])]


@pytest.mark.parametrize(
    "more",
    [{"dropout": (0.0, 0.3)}, {"schedule": ("constant", "cosine"), "label_smoothing": (0.0, 0.2)}],
    ids=["dropout", "regular"],
)
@pytest.mark.parametrize("base", [{}, DEEP], ids=["linear", "mlp"])
def test_early_stopping_and_compaction_change_nothing(
    base: dict[str, Any], more: dict[str, Any]
) -> None:
    base = {**base, "lr": 3e-2}
    found = trials_of(base, {"patience": (1, 2, 4), "epochs": (5, 12), **more})
    expected = serial(found, torch.float64)
    ends, left = ran(found, torch.float64)
    assert len({end.outcome.epochs for end in ends.values()}) > 2
    assert len(left) > 1
    widths = [len(found), *(len(kept) for _, kept in left)]
    assert all(b <= FULL * a for a, b in pairwise(widths))
    for name, end in ends.items():
        reference = expected[name][1]
        assert end.outcome.epochs == reference.outcome.epochs
        assert end.outcome.best_epoch == reference.outcome.best_epoch
        assert end.outcome.cost == reference.outcome.cost
        assert max(differences(end, reference).values()) < 1e-9


def test_compaction_has_its_moments() -> None:
    found = trials_of({}, {"epochs": (3, 2, 7), "lr": (1e-3, 1e-2)})
    one, other = ran(found), ran(found)
    assert one[1] == other[1]
    assert [(epoch, len(kept)) for epoch, kept in one[1]] == [(2, 4), (3, 2)]
    assert all(same_bits(one[0][name], other[0][name]) for name in one[0])
