"""Abstention: the error bounds by simulation, the risk-coverage curve by counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from veduta.evaluation.abstention import (
    THRESHOLDS,
    compute_error_bounds,
    compute_risk_coverage_curve,
    estimate_risk_coverage_area,
    evaluate_threshold,
    explain_missing_threshold,
    find_threshold,
)
from veduta.evaluation.calibration import fit_temperature, softmax

REPETITIONS = 300
PREDICTIONS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=40)


def draw_overconfident(
    images: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits of an overconfident model, and the true classes."""
    y_true = generator.integers(0, 3, images)
    logits = generator.normal(0, 1, (images, 3)) + 2.2 * np.eye(3)[y_true]
    return 3 * logits, y_true


def test_error_at_the_threshold_for_a_maximum_error_is_below_it() -> None:
    generator = np.random.default_rng(0)
    population_logits, population_labels = draw_overconfident(30_000, generator)
    exceeded = thresholds = 0
    for _ in range(REPETITIONS):
        logits, y_true = draw_overconfident(600, generator)
        temperature = fit_temperature(logits, y_true).value
        probabilities = softmax(logits, temperature)
        correct = probabilities.argmax(1) == y_true
        bound = find_threshold(compute_error_bounds(correct, probabilities.max(1)), 0.05)
        if bound is None:
            continue
        thresholds += 1
        population = softmax(population_logits, temperature)
        accepted = population.max(1) >= bound.threshold
        exceeded += (population.argmax(1) != population_labels)[accepted].mean() > 0.05
    assert thresholds > 0.9 * REPETITIONS
    assert exceeded <= binom.ppf(0.999, REPETITIONS, 0.05)


def test_bounds_hold_simultaneously() -> None:
    # correctness is independent of confidence, so the true error is 0.1 at every threshold
    generator = np.random.default_rng(1)
    exceeded = 0
    for _ in range(REPETITIONS):
        confidence = generator.random(400)
        correct = generator.random(400) > 0.1
        bounds = compute_error_bounds(correct, confidence)
        exceeded += any(bound.error_high < 0.1 for bound in bounds)
    assert exceeded <= binom.ppf(0.999, REPETITIONS, 0.05)


def test_bounds_are_corrected_for_the_number_of_thresholds() -> None:
    correct, confidence = np.ones(500, bool), np.linspace(0.4, 1, 500)
    single = evaluate_threshold(correct, confidence, 0.0)
    assert single.error_high == pytest.approx(1 - 0.05 ** (1 / 500))
    first = compute_error_bounds(correct, confidence)[0]
    assert first.error_high == pytest.approx(1 - (0.05 / len(THRESHOLDS)) ** (1 / 500))
    assert (first.accepted, first.errors, first.images) == (500, 0, 500)


def test_lowest_sufficient_threshold_is_found() -> None:
    confidence = np.repeat([0.55, 0.75, 0.96], 1000)
    correct = np.arange(3000) >= 400  # all 400 errors are among the least confident images
    bounds = compute_error_bounds(correct, confidence)
    bound = find_threshold(bounds, 0.02)
    assert bound is not None
    assert (bound.threshold, bound.accepted, bound.errors) == (0.6, 2000, 0)


def test_missing_threshold_is_explained() -> None:
    bounds = compute_error_bounds(np.ones(3000, bool), np.ones(3000))
    assert find_threshold(bounds, 1e-4) is None
    message = explain_missing_threshold(bounds, 1e-4)
    assert "0.01 %" in message
    assert "3,000 images" in message
    assert find_threshold((), 0.02) is None


@given(PREDICTIONS)
def test_risk_coverage_curve_equals_counting(predictions: list[tuple[bool, int]]) -> None:
    correct = np.array([is_correct for is_correct, _ in predictions])
    confidence = np.array([tenths / 10 for _, tenths in predictions])
    curve = compute_risk_coverage_curve(correct, confidence)
    for threshold, coverage, risk in curve.itertuples(index=False):
        accepted = confidence >= threshold
        assert coverage == pytest.approx(accepted.mean())
        assert risk == pytest.approx((~correct[accepted]).mean())
    assert len(curve) == len(set(confidence))


def test_risk_coverage_area_by_hand() -> None:
    correct = np.array([True, False, False, True])
    estimate = estimate_risk_coverage_area(correct, np.array([0.9, 0.8, 0.7, 0.6]))
    assert estimate.value == pytest.approx((0 + 1 / 2 + 2 / 3 + 2 / 4) / 4)
    assert estimate.low <= estimate.value <= estimate.high


def test_risk_coverage_area_of_equal_confidences_is_the_error() -> None:
    correct = np.array([True, False, False, True])
    assert estimate_risk_coverage_area(correct, np.full(4, 0.5)).value == pytest.approx(0.5)


def test_risk_coverage_area_of_no_images_is_undefined() -> None:
    assert np.isnan(estimate_risk_coverage_area(np.zeros(0, bool), np.zeros(0)).value)
