"""Abstaining: the promise by simulation, the curve by counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from veduta.evaluation.abstention import (
    GRID,
    accepted,
    error_bounds,
    no_threshold,
    risk_area,
    risk_coverage,
    threshold_for,
)
from veduta.evaluation.calibration import fit_temperature, softmax

TIMES = 300
MARGINS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=40)


def population(images: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model that is too sure of itself, and the truth."""
    truth = generator.integers(0, 3, images)
    logits = generator.normal(0, 1, (images, 3)) + 2.2 * np.eye(3)[truth]
    return 3 * logits, truth


def test_the_promise_holds() -> None:
    generator = np.random.default_rng(0)
    everyone, labels = population(30_000, generator)
    broken = given_at_all = 0
    for _ in range(TIMES):
        logits, truth = population(600, generator)
        temperature = fit_temperature(logits, truth).value
        found = softmax(logits, temperature)
        chosen = threshold_for(error_bounds(found.argmax(1) == truth, found.max(1)), 0.05)
        if chosen is None:
            continue
        given_at_all += 1
        told = softmax(everyone, temperature)
        taken = told.max(1) >= chosen.threshold
        broken += (told.argmax(1) != labels)[taken].mean() > 0.05
    assert given_at_all > 0.9 * TIMES
    assert broken <= binom.ppf(0.999, TIMES, 0.05)


def test_a_promise_for_every_threshold_at_once() -> None:
    # errors do not depend on confidence at all, so every bound is about the same share
    generator = np.random.default_rng(1)
    broken = 0
    for _ in range(TIMES):
        confidence = generator.random(400)
        hits = generator.random(400) > 0.1
        broken += any(one.error_high < 0.1 for one in error_bounds(hits, confidence))
    assert broken <= binom.ppf(0.999, TIMES, 0.05)


def test_bounds_are_corrected_for_how_many_there_are() -> None:
    hits, confidence = np.ones(500, bool), np.linspace(0.4, 1, 500)
    alone = accepted(hits, confidence, 0.0)
    assert alone.error_high == pytest.approx(1 - 0.05 ** (1 / 500))
    first = error_bounds(hits, confidence)[0]
    assert first.error_high == pytest.approx(1 - (0.05 / len(GRID)) ** (1 / 500))
    assert (first.accepted, first.errors, first.images) == (500, 0, 500)


def test_the_lowest_threshold_that_will_do() -> None:
    confidence = np.repeat([0.55, 0.75, 0.96], 1000)
    hits = np.arange(3000) >= 400  # 400 errors, all of the least sure thousand
    bounds = error_bounds(hits, confidence)
    found = threshold_for(bounds, 0.02)
    assert found is not None
    assert (found.threshold, found.accepted, found.errors) == (0.6, 2000, 0)
    assert threshold_for(bounds, 1e-4) is None
    assert "at most 0.01 %" in no_threshold(bounds, 1e-4)
    assert threshold_for((), 0.02) is None


@given(MARGINS)
def test_the_curve_is_what_counting_gives(images: list[tuple[bool, int]]) -> None:
    hits = np.array([hit for hit, _ in images])
    confidence = np.array([tenths / 10 for _, tenths in images])
    for threshold, coverage, risk in risk_coverage(hits, confidence).itertuples(index=False):
        taken = confidence >= threshold
        assert coverage == pytest.approx(taken.mean())
        assert risk == pytest.approx((~hits[taken]).mean())
    assert len(risk_coverage(hits, confidence)) == len(set(confidence))


def test_the_area_worked_by_hand() -> None:
    hits = np.array([True, False, False, True])
    found = risk_area(hits, np.array([0.9, 0.8, 0.7, 0.6]))
    assert found.value == pytest.approx((0 + 1 / 2 + 2 / 3 + 2 / 4) / 4)
    assert found.low <= found.value <= found.high
    level = risk_area(hits, np.full(4, 0.5))  # equals: half of any number are errors
    assert level.value == pytest.approx(0.5)
    assert np.isnan(risk_area(np.zeros(0, bool), np.zeros(0)).value)
