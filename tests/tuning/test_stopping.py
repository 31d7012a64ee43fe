"""Stopping by hand; against the foundations in tests/contracts/test_rules.py."""

from typing import Any

import pytest

from veduta.config.settings import Settings
from veduta.tuning.trials.state import StoppingRules

EPOCHS = [(1.0, 0.50, 0.50), (0.9, 0.70, 0.65), (0.95, 0.90, 0.70), (0.91, 0.95, 0.80)]


def reasons(**rules: Any) -> list[str | None]:
    stopping = StoppingRules(Settings(**rules))
    return [
        stopping.update(val_loss=loss, train_accuracy=train, val_accuracy=validation)
        for loss, train, validation in EPOCHS
    ]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, [None, None, None, None]),
        ({"patience": 2}, [None, None, None, "patience"]),
        ({"patience": 3}, [None, None, None, None]),
        ({"stop_gap": 0.1}, [None, None, "stop_gap", "stop_gap"]),
        ({"stop_gap": 0.3}, [None, None, None, None]),
        ({"stop_at": 0.7}, [None, None, "stop_at", "stop_at"]),
        ({"patience": 1, "stop_gap": 0.1}, [None, None, "stop_gap", "stop_gap"]),
        ({"patience": 2, "stop_at": 0.8}, [None, None, None, "stop_at"]),
    ],
    ids=str,
)
def test_it_says_by_which_rule(rules: dict[str, Any], expected: list[str | None]) -> None:
    assert reasons(**rules) == expected
