"""Assessment: names and values of the summaries."""

import numpy as np
import pytest

from veduta.evaluation.abstention import compute_error_bounds
from veduta.evaluation.assessment import (
    LabeledPredictions,
    estimate_metrics,
    summarize_abstention,
    summarize_calibration,
)
from veduta.evaluation.calibration import Temperature

CLASSES = ("a", "b", "c", "d")
IMAGES = 400


@pytest.fixture(scope="module")
def predictions() -> LabeledPredictions:
    """Predictions of which every tenth is wrong, and less confident than the others."""
    y_true = np.arange(IMAGES) % len(CLASSES)
    wrong = np.arange(IMAGES) % 10 == 0
    y_pred = np.where(wrong, (y_true + 1) % len(CLASSES), y_true)
    logits = np.where(wrong, 1.0, 5.0)[:, None] * np.eye(len(CLASSES))[y_pred]
    paths = [f"{index}.png" for index in range(IMAGES)]
    return LabeledPredictions(paths, [""] * IMAGES, y_true, logits, CLASSES)


def test_properties_follow_from_the_logits(predictions: LabeledPredictions) -> None:
    assert predictions.correct.mean() == 0.9
    assert (predictions.y_pred == predictions.logits.argmax(1)).all()
    assert (predictions.confidence == predictions.probabilities.max(1)).all()


def test_metrics_have_an_estimate_each(predictions: LabeledPredictions) -> None:
    metrics, area_table = estimate_metrics(predictions, seed=0)
    # of the other classes, which tie, the first two are in the top 3: classes a, but not c
    assert metrics["top_3_accuracy"].value == 0.95
    assert "top_5_accuracy" not in metrics  # there are four classes
    assert metrics["balanced_accuracy"].value == pytest.approx(0.9)
    area = metrics["risk_coverage_area"].value
    assert area is not None
    assert area < 0.02
    assert {"log_loss", "brier_score", "calibration_error", "macro_roc_auc"} <= set(metrics)
    assert list(area_table["class"]) == list(CLASSES)


def test_calibration_is_summarized_before_and_after(predictions: LabeledPredictions) -> None:
    summary = summarize_calibration(Temperature(2.0, 50), predictions, seed=0)
    assert (summary.temperature, summary.images) == (2.0, 50)
    metrics, _ = estimate_metrics(predictions, seed=0)
    assert summary.before is not None
    assert summary.after is not None
    assert summary.before["log_loss"] == metrics["log_loss"]
    assert summary.after["log_loss"].value != metrics["log_loss"].value
    without_images = summarize_calibration(Temperature(2.0, 50), None, seed=0)
    assert without_images.before is without_images.after is None


def test_abstention_is_summarized_on_both_sets(predictions: LabeledPredictions) -> None:
    bounds = compute_error_bounds(predictions.correct, predictions.confidence)
    summary = summarize_abstention(bounds, predictions, max_error=0.05)
    assert summary.threshold == 0.5
    assert summary.validation is not None
    for accepted in (summary.validation, summary.test):
        assert accepted is not None
        assert accepted.coverage.value == 0.9
        assert accepted.error.value == 0
    assert summary.validation.error_upper_bound < 0.05


def test_missing_threshold_has_a_reason(predictions: LabeledPredictions) -> None:
    bounds = compute_error_bounds(predictions.correct, predictions.confidence)
    summary = summarize_abstention(bounds, predictions, max_error=1e-6)
    assert summary.threshold is summary.validation is summary.test is None
    assert "400 images" in str(summary.reason)
