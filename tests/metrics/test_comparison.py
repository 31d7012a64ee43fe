"""Paired comparison against its definition, and Holm's rule against a worked example."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.metrics.comparison import holm, mcnemar


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_is_a_fair_coin(pairs: list[tuple[bool, bool]]) -> None:
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    won, lost = pairs.count((True, False)), pairs.count((False, True))
    n, few = won + lost, min(won, lost)
    tail = sum(comb(n, k) for k in range(few + 1)) / 2**n
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(first, second) == pytest.approx(mcnemar(second, first))


def test_holm_worked_by_hand() -> None:
    # four p-values sorted: 0.005*4, 0.01*3, 0.03*2, 0.04*1, each at least the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
