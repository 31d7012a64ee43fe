"""The Cartesian product of hyperparameter values (41)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.foundations import search_space


@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.integers(), min_size=1, max_size=4), max_size=4
    )
)
def test_cartesian_product_keeps_the_given_order(sets: dict[str, list[int]]) -> None:
    combinations = search_space.cartesian_product(sets)
    assert [tuple(choice.values()) for choice in combinations] == list(
        itertools.product(*sets.values())
    )
    assert all(list(choice) == list(sets) for choice in combinations)
    assert search_space.product_size(sets) == len(combinations)


def test_three_sets_of_four_values_give_64_combinations() -> None:
    assert len(search_space.cartesian_product({name: range(4) for name in "abc"})) == 64


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one value; got none for \['momentum'\]"):
        search_space.cartesian_product({"lr": [0.1], "momentum": []})
