"""McNemar's test against its definition, and Holm's method against an example by hand."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.metrics.comparison import adjust_p_values, compute_mcnemar_p_value


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_equals_the_sign_test_of_discordant_images(pairs: list[tuple[bool, bool]]) -> None:
    first, second = (np.array(correct) for correct in zip(*pairs, strict=True))
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    discordant = only_first + only_second
    tail = sum(comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    expected = min(1.0, 2 * tail / 2**discordant)
    assert compute_mcnemar_p_value(first, second) == pytest.approx(expected)
    assert compute_mcnemar_p_value(second, first) == pytest.approx(expected)


def test_holm_by_hand() -> None:
    # sorted p-values times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, then made non-decreasing
    assert adjust_p_values([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_p_values([]) == []
    assert adjust_p_values([0.9, 0.8]) == [1.0, 1.0]
