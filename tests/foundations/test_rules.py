"""The two rules that production shares: early stopping and the space of hyper-parameters."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.foundations import hyperspace, stopping

LOSSES = st.lists(st.floats(0, 10), min_size=1, max_size=30)


@given(losses=LOSSES)
def test_the_optimal_epoch_is_the_first_smallest(losses: list[float]) -> None:
    assert stopping.optimal_epoch(losses) == losses.index(min(losses)) + 1


@given(losses=LOSSES, patience=st.integers(1, 5))
def test_should_stop_counts_epochs_without_a_better_loss(
    losses: list[float], patience: int
) -> None:
    best, waited = math.inf, 0
    for loss in losses:
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
    assert stopping.should_stop(losses, patience) == (waited >= patience)


def test_losses_that_are_no_numbers() -> None:
    assert stopping.optimal_epoch([math.nan, 2.0, 1.0, math.nan]) == 3
    assert stopping.should_stop([math.nan, math.nan], patience=2)
    assert not stopping.should_stop([], patience=1)
    for losses in ([], [math.nan]):
        with pytest.raises(ValueError, match="at least one loss that is a number"):
            stopping.optimal_epoch(losses)
    with pytest.raises(ValueError, match="at least 1; got 0"):
        stopping.should_stop([1.0], patience=0)


def test_the_gap_has_a_direction() -> None:
    assert stopping.gap_exceeds(train=0.1, validation=0.5, threshold=0.3)
    assert not stopping.gap_exceeds(train=0.5, validation=0.1, threshold=0.3)
    with pytest.raises(ValueError, match="0 or larger; got -1"):
        stopping.gap_exceeds(0.1, 0.2, threshold=-1)


@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.integers(), min_size=1, max_size=4), max_size=4
    )
)
def test_eq_41_is_the_product_in_order(sets: dict[str, list[int]]) -> None:
    found = hyperspace.cartesian_product(sets)
    assert [tuple(choice.values()) for choice in found] == list(itertools.product(*sets.values()))
    assert all(list(choice) == list(sets) for choice in found)
    assert hyperspace.size(sets) == len(found)


def test_three_sets_of_four_are_64_trials() -> None:
    assert len(hyperspace.cartesian_product({name: range(4) for name in "abc"})) == 64


def test_an_empty_set_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"at least one value; got none for \['momentum'\]"):
        hyperspace.cartesian_product({"lr": [0.1], "momentum": []})
