"""Figures of a classifier against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.metrics.classification import accuracy, confusion, per_class

CLASSES = ("a", "b", "never")
LABELS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(LABELS)
def test_against_counting(pairs: list[tuple[int, int]]) -> None:
    truth, found = (np.array(side) for side in zip(*pairs, strict=True))
    assert accuracy(truth, found).accuracy == sum(a == b for a, b in pairs) / len(pairs)
    table = confusion(truth, found, CLASSES)
    for row, name in enumerate(CLASSES):
        for column, other in enumerate(CLASSES):
            assert table.loc[name, other] == pairs.count((row, column))
    figures = per_class(truth, found, CLASSES).set_index("class")
    for row, name in enumerate(CLASSES):
        hits = pairs.count((row, row))
        of_class, said = sum(a == row for a, _ in pairs), sum(b == row for _, b in pairs)
        assert figures.loc[name, "images"] == of_class
        recall, precision = figures.loc[name, "recall"], figures.loc[name, "precision"]
        assert np.isnan(recall) if not of_class else recall == pytest.approx(hits / of_class)
        assert np.isnan(precision) if not said else precision == pytest.approx(hits / said)


def test_rows_are_the_truth() -> None:
    table = confusion(np.array([0, 0]), np.array([1, 1]), ("a", "b"))
    assert table.loc["a", "b"] == 2
    assert table.loc["b", "a"] == 0
