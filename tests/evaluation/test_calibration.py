"""Temperature against a worked case and a scan of the loss; the reliability diagram by counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.evaluation.calibration import HOTTEST, fit_temperature, reliability, softmax
from veduta.metrics.probabilities import log_losses


@pytest.mark.parametrize("right", [6, 7, 9])
def test_two_classes_worked_by_hand(right: int) -> None:
    # 10 images with margin m: the loss is least where sigmoid(m / T) is the share of right ones
    logits = np.tile([3.0, 0.0], (10, 1))
    truth = np.where(np.arange(10) < right, 0, 1)
    found = fit_temperature(logits, truth)
    share = right / 10
    assert found.value == pytest.approx(3 / np.log(share / (1 - share)))
    assert (found.images, found.reason) == (10, None)


@given(st.integers(0, 10**6))
def test_no_other_temperature_has_a_lower_loss(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 4, 60)
    logits = generator.normal(0, 2, (60, 4)) + 1.5 * np.eye(4)[truth]
    found = fit_temperature(logits, truth)
    least = log_losses(truth, softmax(logits, found.value)).mean()
    for other in found.value * np.array([0.5, 0.9, 0.99, 1.01, 1.1, 2]):
        assert least <= log_losses(truth, softmax(logits, other)).mean()


def test_what_made_the_logits_is_found_again() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20000, 3))
    chances = softmax(logits).cumsum(1)
    truth = (generator.random((20000, 1)) > chances).sum(1)
    assert fit_temperature(2.5 * logits, truth).value == pytest.approx(2.5, rel=0.03)


def test_no_certainty_from_images_that_are_all_right() -> None:
    found = fit_temperature(np.eye(3), np.arange(3))
    assert found.value == 1
    assert "every image is right" in str(found.reason)
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)).value == 1


def test_worse_than_chance_is_as_hot_as_can_be() -> None:
    assert fit_temperature(np.eye(3), np.array([1, 2, 0])).value == HOTTEST


def test_softmax_survives_any_logits() -> None:
    found = softmax(np.array([[1e5, 0.0], [-1e5, 0.0]], np.float32))
    assert found.tolist() == [[1, 0], [0, 1]]
    assert softmax(np.zeros((0, 3))).shape == (0, 3)


def test_reliability_counts() -> None:
    hits, confidence = np.array([True, False, True, True]), np.array([0.41, 0.46, 0.99, 1.0])
    table = reliability(hits, confidence)
    assert list(table["images"]) == [2, 2]
    assert list(table["accuracy"]) == [0.5, 1]
    assert table["confidence"].to_numpy() == pytest.approx([0.435, 0.995])
    assert (table["above"] < table["confidence"]).all()
    assert (table["confidence"] <= table["to"]).all()
    assert (table["accuracy_low"] < table["accuracy"]).all()
