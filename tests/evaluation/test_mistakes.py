"""Mistakes and confused classes by hand, nearest neighbors against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from veduta.evaluation import mistakes
from veduta.evaluation.mistakes import (
    describe_confused_pairs,
    find_confused_pairs,
    find_nearest,
    group_by_cell,
    select_confident_errors,
    select_uncertain_correct,
    tabulate_predictions,
)

PATHS = ["a", "b", "c", "d", "e"]
Y_TRUE = np.array([0, 0, 1, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.95, 0.05]])
SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street")


def make_confusion_matrix(
    names: tuple[str, ...], errors: dict[tuple[str, str], int]
) -> pd.DataFrame:
    """Make a confusion matrix with 100 correct images per class and the given errors."""
    matrix = pd.DataFrame(np.diag([100] * len(names)), index=list(names), columns=list(names))
    for (true_class, predicted_class), count in errors.items():
        matrix.loc[true_class, predicted_class] = count
    return matrix


def test_errors_are_sorted_by_descending_confidence() -> None:
    errors = select_confident_errors(tabulate_predictions(PATHS, Y_TRUE, PROBABILITIES, ("x", "y")))
    assert list(errors["path"]) == ["e", "b", "d"]
    assert list(errors["y_pred"]) == ["x", "y", "x"]
    assert list(errors["probability"]) == [0.95, 0.8, 0.6]
    assert list(errors["probability_of_true"]) == [0.05, 0.2, 0.4]


def test_correct_predictions_are_sorted_by_ascending_confidence() -> None:
    images = tabulate_predictions(PATHS, Y_TRUE, PROBABILITIES, ("x", "y"))
    assert list(select_uncertain_correct(images)["path"]) == ["c", "a"]


def test_cells_hold_their_first_images() -> None:
    images = tabulate_predictions(PATHS, Y_TRUE, PROBABILITIES, ("x", "y"))
    cells = group_by_cell(images, limit=1)
    assert next(iter(cells)) == ("y", "x")  # the cell with most images
    assert {cell: list(table["path"]) for cell, table in cells.items()} == {
        ("y", "x"): ["e"], ("x", "x"): ["a"], ("x", "y"): ["b"], ("y", "y"): ["c"],
    }  # fmt: skip


def test_no_images_give_empty_tables() -> None:
    images = tabulate_predictions([], np.zeros(0, int), np.zeros((0, 2)), ("x", "y"))
    assert select_confident_errors(images).empty
    assert group_by_cell(images, limit=3) == {}


def test_pairs_with_a_fifth_of_the_errors_are_named() -> None:
    errors = {("buildings", "street"): 14, ("street", "buildings"): 12, ("glacier", "mountain"): 19}
    errors |= {("mountain", "glacier"): 21, ("glacier", "sea"): 8, ("sea", "glacier"): 2}
    pairs = find_confused_pairs(make_confusion_matrix(SCENES, errors))
    assert list(pairs["errors"]) == [40, 26, 10]
    assert (pairs["first_as_second"][0], pairs["second_as_first"][0]) == (19, 21)
    named, sentence = describe_confused_pairs(pairs)
    assert named == [("glacier", "mountain"), ("buildings", "street")]
    assert "66 of 76 errors (87%)" in sentence


def test_spread_errors_are_not_attributed_to_one_pair() -> None:
    errors = {(a, b): 1 for a in SCENES for b in SCENES if a != b}
    errors["sea", "forest"] = 3
    pairs = find_confused_pairs(make_confusion_matrix(SCENES, errors))
    named, sentence = describe_confused_pairs(pairs)
    assert named == [("forest", "sea")]
    assert "4 of 32 errors (12%)" in sentence
    assert "spread over more pairs" in sentence


def test_without_errors_no_pair_is_named() -> None:
    named, sentence = describe_confused_pairs(
        find_confused_pairs(make_confusion_matrix(SCENES, {}))
    )
    assert named == []
    assert sentence.startswith("No image")


@given(st.lists(st.integers(0, 9), min_size=16, max_size=16))
def test_pairs_contain_every_error_once(counts: list[int]) -> None:
    matrix = pd.DataFrame(np.reshape(counts, (4, 4)), index=list("abcd"), columns=list("abcd"))
    pairs = find_confused_pairs(matrix)
    errors = int(matrix.to_numpy().sum() - np.trace(matrix.to_numpy()))
    assert pairs["errors"].sum() == errors
    assert (pairs["errors"] == pairs["first_as_second"] + pairs["second_as_first"]).all()
    assert pairs["errors"].is_monotonic_decreasing
    assert not errors or abs(pairs["share"].sum() - 1) < 1e-12


def test_nearest_references_equal_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "QUERIES_PER_BLOCK", 7)
    generator = np.random.default_rng(0)
    queries, references = generator.normal(size=(20, 8)), generator.normal(size=(50, 8))
    indices, similarities = find_nearest(queries, references, count=4)
    oracle = NearestNeighbors(n_neighbors=4, metric="cosine").fit(references)
    distances, expected = oracle.kneighbors(queries)
    assert (indices == expected).all()
    assert similarities == pytest.approx(1 - distances)


def test_ties_are_in_order_of_rows_and_similarity_to_zero_is_zero() -> None:
    queries = np.array([[1.0, 1.0], [0.0, 0.0]])
    indices, similarities = find_nearest(queries, np.ones((3, 2)), count=9)
    assert indices.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert similarities[1].tolist() == [0, 0, 0]
