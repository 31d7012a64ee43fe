"""Production stops by the rule of the foundations."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from veduta.foundations import stopping
from veduta.training.stopping import Patience


@given(losses=st.lists(st.floats(0, 10), min_size=1, max_size=20), patience=st.integers(1, 4))
def test_patience_is_section_4_4(losses: list[float], patience: int) -> None:
    rule = Patience(patience)
    exhausted = [rule.exhausted(loss) for loss in losses]
    prefixes = [losses[: end + 1] for end in range(len(losses))]
    assert exhausted == [stopping.should_stop(prefix, patience) for prefix in prefixes]
    assert not np.any([Patience(None).exhausted(loss) for loss in losses])
