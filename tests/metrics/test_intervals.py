"""Wilson's interval: the root of its own equation, and its coverage by exact sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from veduta.metrics.intervals import upper_bound, wilson

Z = 1.959963984540054


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_both_ends_solve_wilsons_equation(case: tuple[int, int]) -> None:
    hits, images = case
    p = hits / images
    for end in wilson(hits, images):
        assert abs(p - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / images), abs=1e-9)


@pytest.mark.parametrize("images", [30, 300, 3000])
@pytest.mark.parametrize("p", [0.5, 0.92, 0.99])
def test_coverage_is_near_95_percent(images: int, p: float) -> None:
    hits = np.arange(images + 1)
    covered = [low <= p <= high for low, high in (wilson(int(k), images) for k in hits)]
    assert 0.93 <= binom.pmf(hits, images, p) @ covered <= 0.98


@pytest.mark.parametrize("images", [30, 300])
@pytest.mark.parametrize("p", [0.01, 0.08, 0.5])
def test_the_upper_bound_never_falls_below_its_level(images: int, p: float) -> None:
    errors = np.arange(images + 1)
    covered = [p <= upper_bound(int(k), images, 0.95) for k in errors]
    assert binom.pmf(errors, images, p) @ covered >= 0.95
    assert binom.cdf(3, images, upper_bound(3, images, 0.95)) == pytest.approx(0.05)


def test_no_image_leaves_everything_possible() -> None:
    assert wilson(0, 0) == (0, 1)
    assert upper_bound(0, 0, 0.95) == 1
