"""Metrics of predicted labels against scikit-learn, counting, and matrices computed by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from veduta.metrics.bootstrap import ClassCounts
from veduta.metrics.classification import (
    compute_confusion_matrix,
    compute_f1,
    compute_kappa,
    compute_macro_f1,
    estimate_accuracy,
    estimate_averaged_metrics,
    estimate_class_metrics,
    estimate_top_k_accuracy,
)

CLASSES = ("a", "b", "c", "never")
LABEL_PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


def split_pairs(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_pred = (np.array(labels, dtype=np.int64) for labels in zip(*pairs, strict=True))
    return y_true, y_pred


@given(LABEL_PAIRS)
def test_accuracy_and_confusion_matrix_equal_counts(pairs: list[tuple[int, int]]) -> None:
    y_true, y_pred = split_pairs(pairs)
    accuracy = estimate_accuracy(y_true, y_pred).value
    assert accuracy == sum(true == predicted for true, predicted in pairs) / len(pairs)
    confusion = compute_confusion_matrix(y_true, y_pred, CLASSES)
    for row, true_class in enumerate(CLASSES):
        for column, predicted_class in enumerate(CLASSES):
            assert confusion.loc[true_class, predicted_class] == pairs.count((row, column))


@given(LABEL_PAIRS)
def test_precision_and_recall_equal_counts(pairs: list[tuple[int, int]]) -> None:
    table = estimate_class_metrics(*split_pairs(pairs), CLASSES).set_index("class")
    for index, name in enumerate(CLASSES):
        correct = pairs.count((index, index))
        actual = sum(true == index for true, _ in pairs)
        predicted = sum(label == index for _, label in pairs)
        assert table.loc[name, "images"] == actual
        assert table.loc[name, "predicted"] == predicted
        recall, precision = table.loc[name, "recall"], table.loc[name, "precision"]
        assert recall == pytest.approx(correct / actual if actual else np.nan, nan_ok=True)
        assert precision == pytest.approx(correct / predicted if predicted else np.nan, nan_ok=True)


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    confusion = compute_confusion_matrix(np.array([0, 0]), np.array([1, 1]), ("a", "b"))
    assert confusion.loc["a", "b"] == 2
    assert confusion.loc["b", "a"] == 0


@given(LABEL_PAIRS)
def test_averaged_metrics_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    y_true, y_pred = split_pairs(pairs)
    estimates = estimate_averaged_metrics(y_true, y_pred, classes=4)
    for average in ("macro", "weighted"):
        expected = oracle.precision_recall_fscore_support(
            y_true, y_pred, labels=range(4), average=average, zero_division=np.nan
        )
        for name, value in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            assert estimates[f"{average}_{name}"].value == pytest.approx(value, nan_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns about classes without images
        balanced_accuracy = oracle.balanced_accuracy_score(y_true, y_pred)
        kappa = oracle.cohen_kappa_score(y_true, y_pred)
    assert estimates["balanced_accuracy"].value == pytest.approx(balanced_accuracy)
    if len({*y_true, *y_pred}) > 1:
        assert estimates["kappa"].value == pytest.approx(kappa)
    else:
        assert np.isnan(estimates["kappa"].value)


@given(LABEL_PAIRS)
def test_intervals_contain_their_values(pairs: list[tuple[int, int]]) -> None:
    for estimate in estimate_averaged_metrics(*split_pairs(pairs), classes=4).values():
        assert estimate.images == len(pairs)
        if not np.isnan(estimate.value):
            assert estimate.low <= estimate.value <= estimate.high
    table = estimate_class_metrics(*split_pairs(pairs), CLASSES)
    for name in ("precision", "recall", "f1"):
        defined = table[table[name].notna()]
        assert (defined[f"{name}_low"] <= defined[name]).all()
        assert (defined[name] <= defined[f"{name}_high"]).all()
        assert table.loc[table[name].isna(), f"{name}_low"].isna().all()


@given(LABEL_PAIRS)
def test_class_metrics_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    y_true, y_pred = split_pairs(pairs)
    table = estimate_class_metrics(y_true, y_pred, CLASSES)
    expected = oracle.precision_recall_fscore_support(
        y_true, y_pred, labels=range(4), zero_division=np.nan
    )
    for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        assert table[name].to_numpy() == pytest.approx(values, nan_ok=True)


def test_metrics_of_a_matrix_by_hand() -> None:
    # rows are true classes: (3, 1), (2, 4)
    counts = ClassCounts(np.array([3.0, 4.0]), np.array([5.0, 5.0]), np.array([4.0, 6.0]))
    assert compute_f1(counts) == pytest.approx([2 * 3 / 9, 2 * 4 / 11])
    assert compute_macro_f1(counts) == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert compute_kappa(counts) == pytest.approx((0.7 - 0.5) / 0.5)


def test_metrics_of_stacked_counts_equal_metrics_of_each() -> None:
    generator = np.random.default_rng(0)
    matrices = generator.integers(0, 9, (20, 3, 3)).astype(float)
    correct = np.diagonal(matrices, axis1=1, axis2=2)
    stack = ClassCounts(correct, matrices.sum(1), matrices.sum(2))
    for index, matrix in enumerate(matrices):
        counts = ClassCounts(correct[index], matrix.sum(0), matrix.sum(1))
        assert compute_kappa(stack)[index] == pytest.approx(float(compute_kappa(counts)))
        assert compute_macro_f1(stack)[index] == pytest.approx(float(compute_macro_f1(counts)))


def test_one_correct_image_has_a_wide_interval() -> None:
    estimate = estimate_averaged_metrics(np.array([1]), np.array([1]), classes=3)["macro_f1"]
    assert (estimate.value, estimate.high, estimate.images) == (1, 1, 1)
    assert estimate.low < 0.9


def test_metrics_of_no_images_are_undefined() -> None:
    empty = np.zeros(0, np.int64)
    for estimate in estimate_averaged_metrics(empty, empty, classes=3).values():
        assert estimate.as_dict() == {"value": None, "low": None, "high": None, "images": 0}
    assert estimate_class_metrics(empty, empty, CLASSES)["recall"].isna().all()
    assert estimate_accuracy(empty, empty).as_dict()["value"] is None


@given(st.integers(1, 4), st.integers(0, 1000))
def test_top_k_accuracy_equals_scikit_learn(k: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    y_true, scores = generator.integers(0, 5, 30), generator.random((30, 5))
    expected = oracle.top_k_accuracy_score(y_true, scores, k=k, labels=range(5))
    assert estimate_top_k_accuracy(y_true, scores, k).value == pytest.approx(expected)
