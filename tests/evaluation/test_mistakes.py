"""Mistakes by hand, and neighbours against scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from veduta.evaluation import mistakes
from veduta.evaluation.mistakes import (
    by_cell,
    confident_errors,
    judged_images,
    nearest,
    unsure_hits,
)

TRUTH = np.array([0, 0, 1, 1, 1])
SURE = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.95, 0.05]])


def test_the_surest_errors_and_the_least_sure_hits() -> None:
    images = judged_images(["a", "b", "c", "d", "e"], TRUTH, SURE, ("x", "y"))
    wrong = confident_errors(images)
    assert list(wrong["path"]) == ["e", "b", "d"]
    assert list(wrong["label"]) == ["x", "y", "x"]
    assert list(wrong["probability"]) == [0.95, 0.8, 0.6]
    assert list(wrong["probability_of_truth"]) == [0.05, 0.2, 0.4]
    assert list(unsure_hits(images)["path"]) == ["c", "a"]


def test_cells_hold_their_images() -> None:
    images = judged_images(["a", "b", "c", "d", "e"], TRUTH, SURE, ("x", "y"))
    cells = by_cell(images, most=1)
    assert next(iter(cells)) == ("y", "x")
    assert {cell: list(found["path"]) for cell, found in cells.items()} == {
        ("y", "x"): ["e"], ("x", "x"): ["a"], ("x", "y"): ["b"], ("y", "y"): ["c"],
    }  # fmt: skip


def test_no_image() -> None:
    images = judged_images([], np.zeros(0, int), np.zeros((0, 2)), ("x", "y"))
    assert confident_errors(images).empty
    assert by_cell(images, most=3) == {}


def test_neighbours_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "ROWS", 7)  # several chunks
    generator = np.random.default_rng(0)
    queries, references = generator.normal(size=(20, 8)), generator.normal(size=(50, 8))
    rows, cosines = nearest(queries, references, count=4)
    oracle = NearestNeighbors(n_neighbors=4, metric="cosine").fit(references)
    distances, expected = oracle.kneighbors(queries)
    assert (rows == expected).all()
    assert cosines == pytest.approx(1 - distances)


def test_equals_go_by_row_and_nothing_is_like_nothing() -> None:
    rows, cosines = nearest(np.array([[1.0, 1.0], [0.0, 0.0]]), np.ones((3, 2)), count=9)
    assert rows.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert cosines[1].tolist() == [0, 0, 0]
