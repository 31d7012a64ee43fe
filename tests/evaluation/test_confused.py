"""What is confused: hand-worked matrices, and the sentence that the Intel images shall give."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from veduta.evaluation.confused import confused_pairs, in_words

INTEL = ("buildings", "forest", "glacier", "mountain", "sea", "street")


def matrix(names: tuple[str, ...], cells: dict[tuple[str, str], int]) -> pd.DataFrame:
    table = pd.DataFrame(np.diag([100] * len(names)), index=list(names), columns=list(names))
    for (truth, label), count in cells.items():
        table.loc[truth, label] = count
    return table


def test_buildings_and_streets_glaciers_and_mountains() -> None:
    cells = {("buildings", "street"): 14, ("street", "buildings"): 12, ("glacier", "mountain"): 19}
    cells |= {("mountain", "glacier"): 21, ("glacier", "sea"): 8, ("sea", "glacier"): 2}
    pairs = confused_pairs(matrix(INTEL, cells))
    assert list(pairs["errors"]) == [40, 26, 10]
    assert (pairs["first_as_second"][0], pairs["second_as_first"][0]) == (19, 21)
    assert in_words(pairs) == (
        [("glacier", "mountain"), ("buildings", "street")],
        "are what is confused: 66 of 76 errors (87%).",
    )


def test_where_errors_are_spread_no_pair_is_blamed_for_all() -> None:
    cells = {(a, b): 1 for a in INTEL for b in INTEL if a != b}
    cells["sea", "forest"] = 3
    named, told = in_words(confused_pairs(matrix(INTEL, cells)))
    assert named == [("forest", "sea")]
    assert "4 of 32 errors (12%)" in told
    assert "spread over more pairs" in told


def test_without_errors_nothing_is_confused() -> None:
    assert in_words(confused_pairs(matrix(INTEL, {}))) == (
        [],
        "No image was taken for one of another class.",
    )


@given(st.lists(st.integers(0, 9), min_size=16, max_size=16))
def test_pairs_hold_every_error_once(counts: list[int]) -> None:
    table = pd.DataFrame(np.reshape(counts, (4, 4)), index=list("abcd"), columns=list("abcd"))
    pairs = confused_pairs(table)
    errors = int(table.to_numpy().sum() - np.trace(table.to_numpy()))
    assert pairs["errors"].sum() == errors
    assert (pairs["errors"] == pairs["first_as_second"] + pairs["second_as_first"]).all()
    assert pairs["errors"].is_monotonic_decreasing
    assert not errors or abs(pairs["share"].sum() - 1) < 1e-12
