"""How far two tables of features are apart: worked by hand."""

import numpy as np
import pytest

from veduta.features.engines import agreement


def test_the_worst_row_counts() -> None:
    reference = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]], np.float32)
    features = np.array([[3.0, 4.0], [0.8, 0.6], [0.0, 3.0]], np.float32)
    found = agreement(features, reference)
    assert found.images == 3
    # row 1: (0.8, 0.6) is 1 long, sqrt(0.04 + 0.36) away from (1, 0), cosine 0.8
    # row 2: (0, 3) has the direction of (0, 2), and is half its length away
    assert found.largest_difference == pytest.approx(max(np.sqrt(0.4), 0.5))
    assert found.smallest_cosine == pytest.approx(0.8)


def test_the_same_table_agrees_in_full() -> None:
    table = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    found = agreement(table, table.copy())
    assert found.largest_difference == 0
    assert found.smallest_cosine == pytest.approx(1)
    assert found.as_dict()["reference"] == "torch f32"


@pytest.mark.parametrize(
    ("row", "difference", "cosine"), [([0.0, 0.0], 0.0, 1.0), ([1.0, 0.0], 1.0, 0.0)]
)
def test_a_row_of_zeros_divides_nothing(row: list[float], difference: float, cosine: float) -> None:
    found = agreement(np.array([row], np.float32), np.zeros((1, 2), np.float32))
    assert (found.largest_difference, found.smallest_cosine) == (difference, cosine)


def test_what_is_no_number_is_no_agreement() -> None:
    found = agreement(np.array([[np.nan, 1.0]], np.float32), np.ones((1, 2), np.float32))
    assert np.isnan(found.largest_difference)
