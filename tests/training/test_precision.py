"""Mixed precision is decided by a measurement; the measurement by a clock that is handed in."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch

from veduta.config.settings import Settings
from veduta.networks.heads import Head, build_head
from veduta.training.loss import Batch
from veduta.training.precision import faster_in_bf16, pays, settle_precision


def ticking(seconds: list[float]) -> Callable[[], float]:
    """A clock that shows 0 and then how long the step took, step after step."""
    shown: Iterator[float] = iter([time for one in seconds for time in (0.0, one)])
    return lambda: next(shown)


def test_the_quickest_of_the_steps_that_count_and_the_network_as_it_was() -> None:
    network = build_head(Head(5, 3), 0)
    before = copy.deepcopy(network.state_dict())
    batch = Batch(torch.ones(4, 5), torch.tensor([0, 1, 2, 0]))
    clock = ticking([0.1, 0.2, 4.0, 6.0, 3.0, 7.0])  # a warm-up each, then two that count
    found = faster_in_bf16(network, batch, Settings(), steps=2, clock=clock)
    assert found == {"f32_seconds": 3.0, "bf16_seconds": 6.0}
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("bf16", "expected"), [(0.8, True), (0.89, True), (0.9, False), (2, False)]
)
def test_it_pays_where_more_than_a_tenth_is_saved(bf16: float, expected: bool) -> None:
    assert pays({"f32_seconds": 1.0, "bf16_seconds": bf16}) is expected


def test_it_is_measured_where_auto_asks_for_it() -> None:
    def never() -> dict[str, float]:
        raise AssertionError("nothing is left open")

    assert settle_precision("none", never) == (None, {})
    assert settle_precision("bf16", never) == (torch.bfloat16, {})
    slow, quick = (
        {"f32_seconds": 1.0, "bf16_seconds": 1.5},
        {"f32_seconds": 1.0, "bf16_seconds": 0.5},
    )
    assert settle_precision("auto", lambda: slow) == (None, slow)
    assert settle_precision("auto", lambda: quick) == (torch.bfloat16, quick)
