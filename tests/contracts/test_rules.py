"""Production stops by the rules of the foundations."""

from hypothesis import given
from hypothesis import strategies as st

from veduta.config.settings import Settings
from veduta.foundations import stopping
from veduta.tuning.trials.state import Stopping

SHARES = st.integers(0, 20).map(lambda right: right / 20)
EPOCHS = st.lists(st.tuples(st.floats(0, 10), SHARES, SHARES), min_size=1, max_size=20)


@given(
    epochs=EPOCHS,
    patience=st.none() | st.integers(1, 4),
    gap=st.none() | SHARES,
    at=st.none() | SHARES.filter(bool),
)
def test_it_stops_where_a_rule_of_section_4_4_says_so(
    epochs: list[tuple[float, float, float]],
    patience: int | None,
    gap: float | None,
    at: float | None,
) -> None:
    rules = Stopping(Settings(patience=patience, stop_gap=gap, stop_at=at))
    for end, (loss, train, validation) in enumerate(epochs, start=1):
        came = rules.exhausted(val_loss=loss, train_accuracy=train, val_accuracy=validation)
        losses = [one[0] for one in epochs[:end]]
        hold = {
            "patience": patience and stopping.should_stop(losses, patience),
            "stop_gap": gap is not None
            and stopping.gap_exceeds(1 - train, 1 - validation, threshold=gap),
            "stop_at": at and validation >= at,
        }
        assert (came is not None) == any(hold.values())
        assert came is None or hold[came]
    assert rules.losses == [loss for loss, _, _ in epochs]
