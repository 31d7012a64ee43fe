"""Stopping rules against those of the foundations."""

from hypothesis import given
from hypothesis import strategies as st

from veduta.config.settings import Settings
from veduta.foundations import stopping
from veduta.tuning.trials.state import StoppingRules

FRACTIONS = st.integers(0, 20).map(lambda count: count / 20)
EPOCHS = st.lists(st.tuples(st.floats(0, 10), FRACTIONS, FRACTIONS), min_size=1, max_size=20)


@given(
    epochs=EPOCHS,
    patience=st.none() | st.integers(1, 4),
    gap=st.none() | FRACTIONS,
    at=st.none() | FRACTIONS.filter(bool),
)
def test_a_trial_ends_when_a_rule_of_section_4_4_applies(
    epochs: list[tuple[float, float, float]],
    patience: int | None,
    gap: float | None,
    at: float | None,
) -> None:
    rules = StoppingRules(Settings(patience=patience, stop_gap=gap, stop_at=at))
    for end, (loss, train, validation) in enumerate(epochs, start=1):
        reason = rules.update(val_loss=loss, train_accuracy=train, val_accuracy=validation)
        losses = [values[0] for values in epochs[:end]]
        applies = {
            "patience": patience and stopping.should_stop(losses, patience),
            "stop_gap": gap is not None
            and stopping.gap_exceeds(1 - train, 1 - validation, threshold=gap),
            "stop_at": at and validation >= at,
        }
        assert (reason is not None) == any(applies.values())
        assert reason is None or applies[reason]
    assert rules.losses == [loss for loss, _, _ in epochs]
