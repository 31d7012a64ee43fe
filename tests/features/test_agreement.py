"""Agreement of two tables of features, computed by hand."""

import numpy as np
import pytest

from veduta.features.engines import compare_features


def test_the_row_with_the_largest_deviation_counts() -> None:
    reference = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]], np.float32)
    features = np.array([[3.0, 4.0], [0.8, 0.6], [0.0, 3.0]], np.float32)
    agreement = compare_features(features, reference)
    assert agreement.images == 3
    # row 1: (0.8, 0.6) has norm 1, distance sqrt(0.04 + 0.36) from (1, 0), cosine 0.8
    # row 2: (0, 3) has the direction of (0, 2), and the distance is half of its norm
    assert agreement.max_relative_difference == pytest.approx(max(np.sqrt(0.4), 0.5))
    assert agreement.min_cosine_similarity == pytest.approx(0.8)


def test_equal_tables_agree() -> None:
    table = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    agreement = compare_features(table, table.copy())
    assert agreement.max_relative_difference == 0
    assert agreement.min_cosine_similarity == pytest.approx(1)


@pytest.mark.parametrize(
    ("row", "difference", "cosine"), [([0.0, 0.0], 0.0, 1.0), ([1.0, 0.0], 1.0, 0.0)]
)
def test_a_row_of_zeros_causes_no_division_by_zero(
    row: list[float], difference: float, cosine: float
) -> None:
    agreement = compare_features(np.array([row], np.float32), np.zeros((1, 2), np.float32))
    assert (agreement.max_relative_difference, agreement.min_cosine_similarity) == (
        difference,
        cosine,
    )


def test_nan_does_not_agree() -> None:
    agreement = compare_features(np.array([[np.nan, 1.0]], np.float32), np.ones((1, 2), np.float32))
    assert np.isnan(agreement.max_relative_difference)
