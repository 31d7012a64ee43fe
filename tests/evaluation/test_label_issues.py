"""Confident learning: the confident joint by its definition, and known wrong labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from veduta.evaluation.label_issues import find_confident_classes, find_label_issues

CLASSES = ("a", "b", "c", "d")


@given(st.integers(0, 10**6))
def test_confident_classes_equal_their_definition(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, 30)
    probabilities = generator.dirichlet(np.ones(4), 30)
    thresholds = {k: probabilities[labels == k, k].mean() for k in set(labels)}
    expected = []
    for row in probabilities:
        confident = [k for k, threshold in thresholds.items() if row[k] >= threshold]
        expected.append(max(confident, key=lambda k: row[k], default=-1))
    assert (find_confident_classes(labels, probabilities) == expected).all()


def test_known_wrong_labels_come_first() -> None:
    generator = np.random.default_rng(0)
    y_true = generator.integers(0, 4, 800)
    features = generator.normal(size=(800, 6)) + 2.5 * np.eye(4, 6)[y_true]
    wrong = generator.permutation(800)[:40]
    labels = y_true.copy()
    labels[wrong] = (y_true[wrong] + generator.integers(1, 4, 40)) % 4
    probabilities = cross_val_predict(
        LogisticRegression(max_iter=500), features, labels, cv=5, method="predict_proba"
    )
    table = find_label_issues([str(i) for i in range(800)], labels, probabilities, CLASSES)
    assert len(table) == 800
    wrong_paths = set(map(str, wrong))
    assert len(wrong_paths & set(table["path"][:80])) >= 0.85 * 40
    issues = table[table["issue"]]
    assert len(wrong_paths & set(issues["path"][:20])) >= 18
    wrong_issues = issues[issues["path"].isin(wrong_paths)]
    true_classes = np.array(CLASSES)[y_true[wrong_issues["path"].astype(int)]]
    assert (wrong_issues["suggested_label"] == true_classes).mean() > 0.9


def test_columns_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
    labels = np.array([0, 0, 1, 1])
    table = find_label_issues(["p", "q", "r", "s"], labels, probabilities, ("x", "y"))
    assert list(table["path"]) == ["q", "s", "p", "r"]
    first = table.iloc[0]
    assert (first["label"], first["suggested_label"], first["issue"]) == ("x", "y", True)
    numbers = first[["probability_of_label", "probability_of_suggested", "score"]]
    assert list(numbers) == pytest.approx([0.2, 0.8, 0.6])
    assert not table["issue"][1:].any()
    assert list(table["suggested_label"][1:]) == ["x", "y", "x"]  # the most probable other class


def test_no_images_give_an_empty_table() -> None:
    table = find_label_issues([], np.zeros(0, int), np.zeros((0, 2)), ("x", "y"))
    assert table.empty
