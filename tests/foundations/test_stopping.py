"""Early stopping (section 4.4)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.foundations import stopping

LOSSES = st.lists(st.floats(0, 10), min_size=1, max_size=30)


@given(losses=LOSSES)
def test_optimal_epoch_is_the_first_with_the_lowest_loss(losses: list[float]) -> None:
    assert stopping.optimal_epoch(losses) == losses.index(min(losses)) + 1


@given(losses=LOSSES, patience=st.integers(1, 5))
def test_should_stop_counts_epochs_without_a_better_loss(
    losses: list[float], patience: int
) -> None:
    best, epochs = math.inf, 0
    for loss in losses:
        best, epochs = (loss, 0) if loss < best else (best, epochs + 1)
    assert stopping.should_stop(losses, patience) == (epochs >= patience)


def test_nan_losses_are_ignored_and_empty_losses_refused() -> None:
    assert stopping.optimal_epoch([math.nan, 2.0, 1.0, math.nan]) == 3
    assert stopping.should_stop([math.nan, math.nan], patience=2)
    assert not stopping.should_stop([], patience=1)
    for losses in ([], [math.nan]):
        with pytest.raises(ValueError, match="at least one number"):
            stopping.optimal_epoch(losses)
    with pytest.raises(ValueError, match="patience must be 1 or more epochs; got 0"):
        stopping.should_stop([1.0], patience=0)


def test_only_a_higher_validation_loss_exceeds_the_gap() -> None:
    assert stopping.gap_exceeds(train=0.1, validation=0.5, threshold=0.3)
    assert not stopping.gap_exceeds(train=0.5, validation=0.1, threshold=0.3)
    with pytest.raises(ValueError, match="threshold must be 0 or more; got -1"):
        stopping.gap_exceeds(0.1, 0.2, threshold=-1)
