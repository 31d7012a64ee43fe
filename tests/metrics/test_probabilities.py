"""Metrics of probabilities and areas under curves against scikit-learn and examples by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from veduta.metrics.bootstrap import draw_image_counts
from veduta.metrics.probabilities import (
    assign_bins,
    estimate_brier_score,
    estimate_calibration_error,
    estimate_curve_areas,
    estimate_log_loss,
)

CLASSES = ("a", "b", "c", "none")


def make_probabilities(seed: int, images: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Make labels of three out of four classes, and probabilities with ties."""
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, 3, images)
    scores = generator.integers(1, 5, (images, 4)).astype(float)
    scores[np.arange(images), y_true] += generator.integers(0, 3, images)
    return y_true, scores / scores.sum(1, keepdims=True)


@given(st.integers(0, 10**6))
def test_log_loss_equals_scikit_learn(seed: int) -> None:
    y_true, probabilities = make_probabilities(seed)
    expected = oracle.log_loss(y_true, probabilities, labels=range(4))
    assert estimate_log_loss(y_true, probabilities).value == pytest.approx(expected)


@given(st.integers(0, 10**6))
def test_brier_score_equals_scikit_learn(seed: int) -> None:
    y_true, probabilities = make_probabilities(seed)
    one_hot = np.eye(4)[y_true]
    expected = sum(
        oracle.brier_score_loss(one_hot[:, k], probabilities[:, k]) if one_hot[:, k].any() else
        (probabilities[:, k] ** 2).mean()
        for k in range(4)
    )  # fmt: skip
    assert estimate_brier_score(y_true, probabilities).value == pytest.approx(expected)


@given(st.integers(0, 10**6))
def test_areas_equal_scikit_learn(seed: int) -> None:
    y_true, probabilities = make_probabilities(seed, images=25)
    table, means = estimate_curve_areas(y_true, probabilities, CLASSES)
    roc_aucs = []
    for k in range(4):
        row, positive = table.iloc[k], y_true == k
        if not positive.any() or positive.all():
            assert np.isnan(row["roc_auc"])
            continue
        roc_aucs.append(oracle.roc_auc_score(positive, probabilities[:, k]))
        assert row["roc_auc"] == pytest.approx(roc_aucs[-1])
        average_precision = oracle.average_precision_score(positive, probabilities[:, k])
        assert row["average_precision"] == pytest.approx(average_precision)
        assert row["images"] == positive.sum()
        if not np.isnan(row["roc_auc_low"]):
            assert row["roc_auc_low"] <= row["roc_auc"] <= row["roc_auc_high"]
    if roc_aucs:
        assert means["macro_roc_auc"].value == pytest.approx(np.mean(roc_aucs))


def test_areas_of_repeated_images_equal_scikit_learn_with_weights() -> None:
    y_true, probabilities = make_probabilities(5)
    counts = next(draw_image_counts(40, 3))[0].astype(int)
    table, _ = estimate_curve_areas(
        np.repeat(y_true, counts), np.repeat(probabilities, counts, 0), CLASSES
    )
    for k in range(3):
        positive, scores = y_true == k, probabilities[:, k]
        expected = oracle.roc_auc_score(positive, scores, sample_weight=counts)
        assert table["roc_auc"][k] == pytest.approx(expected)
        expected = oracle.average_precision_score(positive, scores, sample_weight=counts)
        assert table["average_precision"][k] == pytest.approx(expected)


def test_areas_of_perfectly_separated_classes_have_no_interval() -> None:
    y_true = np.array([0, 0, 1, 1])
    table, means = estimate_curve_areas(y_true, np.eye(2)[y_true], ("a", "b"))
    assert list(table["roc_auc"]) == [1, 1]
    assert table["roc_auc_low"].isna().all()
    assert means["macro_roc_auc"].as_dict() == {"value": 1, "low": None, "high": None, "images": 4}


@pytest.mark.parametrize("images", [0, 1])
def test_areas_of_no_or_one_image_are_undefined(images: int) -> None:
    y_true, probabilities = np.zeros(images, np.int64), np.full((images, 2), 0.5)
    table, means = estimate_curve_areas(y_true, probabilities, ("a", "b"))
    assert table["roc_auc"].isna().all()
    assert np.isnan(means["macro_roc_auc"].value)


def test_calibration_error_by_hand() -> None:
    # bins of width 1/15: 0.5 and 0.52 share one, 0.9 is alone: (2 |0.51 - 0.5| + |0.9 - 1|) / 3
    correct, confidence = np.array([True, False, True]), np.array([0.5, 0.52, 0.9])
    equal_width = estimate_calibration_error(correct, confidence)
    assert equal_width.value == pytest.approx((2 * 0.01 + 0.1) / 3)
    equal_mass = estimate_calibration_error(correct, confidence, equal_mass=True)
    assert equal_mass.value == pytest.approx((0.5 + 0.52 + 0.1) / 3)  # one image per bin


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_bins_of_equal_width_contain_their_confidences(values: list[float]) -> None:
    confidence = np.array(values)
    index = assign_bins(confidence, bins=10)
    assert (index >= 0).all()
    assert (confidence <= (index + 1) / 10 + 1e-12).all()
    assert ((confidence > index / 10 - 1e-12) | (index == 0)).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_bins_of_equal_mass_differ_by_at_most_one_image(values: list[float]) -> None:
    index = assign_bins(np.array(values), bins=10, equal_mass=True)
    sizes = np.bincount(index, minlength=10)
    assert sizes.max() - sizes.min() <= 1


def test_log_loss_of_no_images_is_not_measured() -> None:
    estimate = estimate_log_loss(np.zeros(0, np.int64), np.zeros((0, 3)))
    assert np.isnan(estimate.value)
    assert str(estimate) == "not measured"
