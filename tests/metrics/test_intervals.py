"""Wilson's interval: the root of its own equation, and its coverage by exact sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from veduta.metrics.intervals import wilson

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
