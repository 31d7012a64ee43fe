"""Confident learning: the joint by its definition, and flips that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from veduta.evaluation.label_issues import confident_joint, label_issues


@given(st.integers(0, 10**6))
def test_the_joint_is_as_defined(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, 30)
    sure = generator.dirichlet(np.ones(4), 30)
    expected = np.zeros((4, 4), int)
    thresholds = {k: sure[labels == k, k].mean() for k in set(labels)}
    for label, row in zip(labels, sure, strict=True):
        able = [k for k, threshold in thresholds.items() if row[k] >= threshold]
        if able:
            expected[label, max(able, key=lambda k: row[k])] += 1
    assert (confident_joint(labels, sure) == expected).all()


def test_known_flips_come_first() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 800)
    features = generator.normal(size=(800, 6)) + 2.5 * np.eye(4, 6)[truth]
    flipped = generator.permutation(800)[:40]
    labels = truth.copy()
    labels[flipped] = (truth[flipped] + generator.integers(1, 4, 40)) % 4
    sure = cross_val_predict(
        LogisticRegression(max_iter=500), features, labels, cv=5, method="predict_proba"
    )
    table = label_issues([str(i) for i in range(800)], labels, sure, ("a", "b", "c", "d"))
    assert len(table) == 800
    found = set(table["path"][:80]) & set(map(str, flipped))
    assert len(found) >= 0.85 * 40
    issues = table[table["issue"]]
    assert len(set(issues["path"][:20]) & set(map(str, flipped))) >= 18
    flips = issues[issues["path"].isin(set(map(str, flipped)))]
    right = np.array(["a", "b", "c", "d"])[truth[flips["path"].astype(int)]]
    assert (flips["suggested"] == right).mean() > 0.9  # and the right label is suggested


def test_columns_worked_by_hand() -> None:
    sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
    table = label_issues(["p", "q", "r", "s"], np.array([0, 0, 1, 1]), sure, ("x", "y"))
    assert list(table["path"]) == ["q", "s", "p", "r"]
    first = table.iloc[0]
    assert (first["label"], first["suggested"], first["issue"]) == ("x", "y", True)
    figures = first[["probability_of_label", "probability_of_suggested", "score"]]
    assert list(figures) == pytest.approx([0.2, 0.8, 0.6])
    assert not table["issue"][1:].any()
    assert list(table["suggested"][1:]) == ["x", "y", "x"]  # the most probable other


def test_no_image() -> None:
    table = label_issues([], np.zeros(0, int), np.zeros((0, 2)), ("x", "y"))
    assert table.empty
