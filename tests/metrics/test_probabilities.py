"""Figures of probabilities and areas below curves against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from veduta.metrics.probabilities import bins_of, brier_score, calibration_error, log_loss
from veduta.metrics.ranking import areas, precision_recall_curve, roc_curve
from veduta.metrics.resampling import image_draws

CLASSES = ("a", "b", "c", "none")


def scored(seed: int, images: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Truth of three classes out of four, and probabilities with ties."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, images)
    scores = generator.integers(1, 5, (images, 4)).astype(float)
    scores[np.arange(images), truth] += generator.integers(0, 3, images)
    return truth, scores / scores.sum(1, keepdims=True)


@given(st.integers(0, 10**6))
def test_losses_are_those_of_scikit_learn(seed: int) -> None:
    truth, probabilities = scored(seed)
    assert log_loss(truth, probabilities).value == pytest.approx(
        oracle.log_loss(truth, probabilities, labels=range(4))
    )
    hot = np.eye(4)[truth]
    expected = sum(
        oracle.brier_score_loss(hot[:, k], probabilities[:, k]) if hot[:, k].any() else
        (probabilities[:, k] ** 2).mean()
        for k in range(4)
    )  # fmt: skip
    assert brier_score(truth, probabilities).value == pytest.approx(expected)


@given(st.integers(0, 10**6))
def test_areas_are_those_of_scikit_learn(seed: int) -> None:
    truth, probabilities = scored(seed, images=25)
    table, means = areas(truth, probabilities, CLASSES)
    expected = []
    for k in range(4):
        row, positive = table.iloc[k], truth == k
        if not positive.any() or positive.all():
            assert np.isnan(row["roc_auc"])
            continue
        expected.append(oracle.roc_auc_score(positive, probabilities[:, k]))
        assert row["roc_auc"] == pytest.approx(expected[-1])
        precise = oracle.average_precision_score(positive, probabilities[:, k])
        assert row["average_precision"] == pytest.approx(precise)
        assert row["images"] == positive.sum()
        if not np.isnan(row["roc_auc_low"]):
            assert row["roc_auc_low"] <= row["roc_auc"] <= row["roc_auc_high"]
    if expected:
        assert means["macro_roc_auc"].value == pytest.approx(np.mean(expected))


def test_a_draw_counts_an_image_as_often_as_it_is_drawn() -> None:
    truth, probabilities = scored(5)
    often = next(image_draws(40, 3))[0].astype(int)
    table, _ = areas(np.repeat(truth, often), np.repeat(probabilities, often, 0), CLASSES)
    for k in range(3):
        expected = oracle.roc_auc_score(truth == k, probabilities[:, k], sample_weight=often)
        assert table["roc_auc"][k] == pytest.approx(expected)
        expected = oracle.average_precision_score(
            truth == k, probabilities[:, k], sample_weight=often
        )
        assert table["average_precision"][k] == pytest.approx(expected)


def test_a_class_told_apart_without_a_fault_has_no_interval() -> None:
    truth = np.array([0, 0, 1, 1])
    table, means = areas(truth, np.eye(2)[truth], ("a", "b"))
    assert list(table["roc_auc"]) == [1, 1]
    assert table["roc_auc_low"].isna().all()
    assert means["macro_roc_auc"].as_dict() == {"value": 1, "low": None, "high": None, "images": 4}


@pytest.mark.parametrize("images", [0, 1])
def test_no_image_or_one_has_no_areas(images: int) -> None:
    table, means = areas(np.zeros(images, np.int64), np.full((images, 2), 0.5), ("a", "b"))
    assert table["roc_auc"].isna().all()
    assert np.isnan(means["macro_roc_auc"].value)


def test_curves_are_those_of_scikit_learn() -> None:
    truth, probabilities = scored(1)
    curve = roc_curve(truth == 0, probabilities[:, 0])
    below = oracle.auc(curve["false_rate"], curve["true_rate"])
    assert below == pytest.approx(oracle.roc_auc_score(truth == 0, probabilities[:, 0]))
    found = precision_recall_curve(truth == 0, probabilities[:, 0])
    for threshold, precision, recall in found.itertuples(index=False):
        taken = probabilities[:, 0] >= threshold
        assert precision == pytest.approx((truth[taken] == 0).mean())
        assert recall == pytest.approx(taken[truth == 0].mean())


def test_calibration_error_worked_by_hand() -> None:
    # bins of 1/15: 0.5 and 0.52 share one, 0.9 stands alone: (2 |0.51 - 0.5| + |0.9 - 1|) / 3
    hits, confidence = np.array([True, False, True]), np.array([0.5, 0.52, 0.9])
    found = calibration_error(hits, confidence)
    assert found.value == pytest.approx((2 * 0.01 + 0.1) / 3)
    equal = calibration_error(hits, confidence, equal_mass=True)
    assert equal.value == pytest.approx((0.5 + 0.52 + 0.1) / 3)  # a bin for each


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_every_confidence_has_a_bin(values: list[float]) -> None:
    confidence = np.array(values)
    place = bins_of(confidence, bins=10)
    assert (place >= 0).all()
    assert (confidence <= (place + 1) / 10 + 1e-12).all()
    assert ((confidence > place / 10 - 1e-12) | (place == 0)).all()
    sizes = np.bincount(bins_of(confidence, bins=10, equal_mass=True), minlength=10)
    assert sizes.max() - sizes.min() <= 1
