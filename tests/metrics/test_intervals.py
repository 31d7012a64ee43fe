"""Intervals of proportions: their defining equations, and their coverage by exact sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from veduta.metrics.intervals import (
    compute_upper_bound,
    compute_wilson_interval,
    estimate_proportion,
)

Z = 1.959963984540054


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_solves_its_equation(counts: tuple[int, int]) -> None:
    successes, trials = counts
    p = successes / trials
    for end in compute_wilson_interval(successes, trials):
        assert abs(p - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / trials), abs=1e-9)


@pytest.mark.parametrize("trials", [30, 300, 3000])
@pytest.mark.parametrize("p", [0.5, 0.92, 0.99])
def test_wilson_coverage_is_near_95_percent(trials: int, p: float) -> None:
    successes = np.arange(trials + 1)
    intervals = (compute_wilson_interval(int(k), trials) for k in successes)
    covered = [low <= p <= high for low, high in intervals]
    assert 0.93 <= binom.pmf(successes, trials, p) @ covered <= 0.98


@pytest.mark.parametrize("trials", [30, 300])
@pytest.mark.parametrize("p", [0.01, 0.08, 0.5])
def test_upper_bound_coverage_is_at_least_its_level(trials: int, p: float) -> None:
    successes = np.arange(trials + 1)
    covered = [p <= compute_upper_bound(int(k), trials, 0.95) for k in successes]
    assert binom.pmf(successes, trials, p) @ covered >= 0.95
    bound = compute_upper_bound(3, trials, 0.95)
    assert binom.cdf(3, trials, bound) == pytest.approx(0.05)


def test_without_trials_every_proportion_is_possible() -> None:
    assert compute_wilson_interval(0, 0) == (0, 1)
    assert compute_upper_bound(0, 0, 0.95) == 1
    estimate = estimate_proportion(0, 0).as_dict()
    assert estimate == {"value": None, "low": 0, "high": 1, "images": 0}
