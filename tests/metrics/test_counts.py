"""Figures over classes against scikit-learn and worked matrices; stacks against one by one."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from veduta.metrics.classification import averages, per_class, top_k_accuracy
from veduta.metrics.counts import Counts, f1, kappa, macro_f1

CLASSES = ("a", "b", "c", "never")
PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


def sides(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    truth, found = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    return truth, found


@given(PAIRS)
def test_averages_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, found = sides(pairs)
    ours = averages(truth, found, classes=4)
    for average in ("macro", "weighted"):
        expected = oracle.precision_recall_fscore_support(
            truth, found, labels=range(4), average=average, zero_division=np.nan
        )
        for name, value in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            assert ours[f"{average}_{name}"].value == pytest.approx(value, nan_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes without images
        balanced = oracle.balanced_accuracy_score(truth, found)
        agreement = oracle.cohen_kappa_score(truth, found)
    assert ours["balanced_accuracy"].value == pytest.approx(balanced)
    if len({*truth, *found}) > 1:
        assert ours["kappa"].value == pytest.approx(agreement)
    else:
        assert np.isnan(ours["kappa"].value)
    for figure in ours.values():
        assert figure.images == len(pairs)
        if not np.isnan(figure.value):
            assert figure.low <= figure.value <= figure.high


@given(PAIRS)
def test_figures_a_class_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, found = sides(pairs)
    table = per_class(truth, found, CLASSES)
    expected = oracle.precision_recall_fscore_support(
        truth, found, labels=range(4), zero_division=np.nan
    )
    for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        assert table[name].to_numpy() == pytest.approx(values, nan_ok=True)
    for name in ("precision", "recall", "f1"):
        there = table[table[name].notna()]
        assert (there[f"{name}_low"] <= there[name]).all()
        assert (there[name] <= there[f"{name}_high"]).all()
        assert table.loc[table[name].isna(), f"{name}_low"].isna().all()


def test_a_matrix_worked_by_hand() -> None:
    # rows are the truth: (3, 1), (2, 4)
    counts = Counts(np.array([3.0, 4.0]), np.array([5.0, 5.0]), np.array([4.0, 6.0]))
    assert f1(counts) == pytest.approx([2 * 3 / 9, 2 * 4 / 11])
    assert macro_f1(counts) == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert kappa(counts) == pytest.approx((0.7 - 0.5) / 0.5)


def test_a_stack_gives_what_each_gives() -> None:
    generator = np.random.default_rng(0)
    matrices = generator.integers(0, 9, (20, 3, 3)).astype(float)
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    stack = Counts(hits, matrices.sum(1), matrices.sum(2))
    for place in range(20):
        one = Counts(hits[place], matrices[place].sum(0), matrices[place].sum(1))
        assert kappa(stack)[place] == pytest.approx(float(kappa(one)))
        assert macro_f1(stack)[place] == pytest.approx(float(macro_f1(one)))


def test_one_image_and_none() -> None:
    one = averages(np.array([1]), np.array([1]), classes=3)["macro_f1"]
    assert (one.value, one.high, one.images) == (1, 1, 1)
    assert one.low < 0.9  # one image is no proof
    empty = np.zeros(0, np.int64)
    for figure in averages(empty, empty, classes=3).values():
        assert figure.images == 0
        assert figure.as_dict() == {"value": None, "low": None, "high": None, "images": 0}
    assert per_class(empty, empty, CLASSES)["recall"].isna().all()


@given(st.integers(1, 4), st.integers(0, 1000))
def test_top_k_is_that_of_scikit_learn(k: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth, scores = generator.integers(0, 5, 30), generator.random((30, 5))
    expected = oracle.top_k_accuracy_score(truth, scores, k=k, labels=range(5))
    assert top_k_accuracy(truth, scores, k).accuracy == pytest.approx(expected)
