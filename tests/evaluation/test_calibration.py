"""Temperature scaling by hand and by scanning the loss; the reliability diagram by counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.evaluation.calibration import (
    MAX_TEMPERATURE,
    compute_reliability_diagram,
    fit_temperature,
    softmax,
)
from veduta.metrics.probabilities import compute_log_losses


@pytest.mark.parametrize("correct", [6, 7, 9])
def test_temperature_of_two_classes_by_hand(correct: int) -> None:
    # 10 images with margin m: the loss is minimal where sigmoid(m / T) is the accuracy
    logits = np.tile([3.0, 0.0], (10, 1))
    y_true = np.where(np.arange(10) < correct, 0, 1)
    temperature = fit_temperature(logits, y_true)
    accuracy = correct / 10
    assert temperature.value == pytest.approx(3 / np.log(accuracy / (1 - accuracy)))
    assert (temperature.images, temperature.reason) == (10, None)


@given(st.integers(0, 10**6))
def test_no_other_temperature_has_a_lower_loss(seed: int) -> None:
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, 4, 60)
    logits = generator.normal(0, 2, (60, 4)) + 1.5 * np.eye(4)[y_true]
    fitted = fit_temperature(logits, y_true).value
    minimum = compute_log_losses(y_true, softmax(logits, fitted)).mean()
    for temperature in fitted * np.array([0.5, 0.9, 0.99, 1.01, 1.1, 2]):
        assert minimum <= compute_log_losses(y_true, softmax(logits, temperature)).mean()


def test_known_temperature_is_recovered() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20000, 3))
    cumulative = softmax(logits).cumsum(1)
    y_true = (generator.random((20000, 1)) > cumulative).sum(1)
    assert fit_temperature(2.5 * logits, y_true).value == pytest.approx(2.5, rel=0.03)


def test_temperature_is_1_if_every_prediction_is_correct() -> None:
    temperature = fit_temperature(np.eye(3), np.arange(3))
    assert temperature.value == 1
    assert "correct" in str(temperature.reason)


def test_temperature_of_no_images_is_1() -> None:
    temperature = fit_temperature(np.zeros((0, 3)), np.zeros(0, int))
    assert (temperature.value, temperature.images) == (1, 0)
    assert temperature.reason is not None


def test_temperature_is_maximal_if_accuracy_is_below_chance() -> None:
    assert fit_temperature(np.eye(3), np.array([1, 2, 0])).value == MAX_TEMPERATURE


def test_softmax_of_extreme_logits_is_finite() -> None:
    probabilities = softmax(np.array([[1e5, 0.0], [-1e5, 0.0]], np.float32))
    assert probabilities.tolist() == [[1, 0], [0, 1]]
    assert softmax(np.zeros((0, 3))).shape == (0, 3)


def test_reliability_diagram_by_counting() -> None:
    correct = np.array([True, False, True, True])
    table = compute_reliability_diagram(correct, np.array([0.41, 0.46, 0.99, 1.0]))
    assert list(table["images"]) == [2, 2]
    assert list(table["accuracy"]) == [0.5, 1]
    assert table["confidence"].to_numpy() == pytest.approx([0.435, 0.995])
    assert (table["bin_low"] < table["confidence"]).all()
    assert (table["confidence"] <= table["bin_high"]).all()
    assert (table["accuracy_low"] < table["accuracy"]).all()
