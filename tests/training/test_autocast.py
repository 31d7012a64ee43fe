"""The choice of the autocast dtype, with a simulated clock."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch

from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.networks.heads import build_head_network
from veduta.training.loss import Batch
from veduta.training.step import choose_autocast_dtype, is_bf16_faster, measure_step_seconds


def create_clock(seconds: list[float]) -> Callable[[], float]:
    """Create a clock that returns 0 before each step and its duration after it."""
    times: Iterator[float] = iter([time for duration in seconds for time in (0.0, duration)])
    return lambda: next(times)


def test_the_fastest_step_counts_and_the_network_is_not_changed() -> None:
    network = build_head_network(Head(5, 3), 0)
    before = copy.deepcopy(network.state_dict())
    batch = Batch(torch.ones(4, 5), torch.tensor([0, 1, 2, 0]))
    clock = create_clock(
        [0.1, 0.2, 4.0, 6.0, 3.0, 7.0]
    )  # one warm-up step per dtype, then two measured steps
    seconds = measure_step_seconds(network, batch, Settings(), steps=2, clock=clock)
    assert seconds == {"f32": 3.0, "bf16": 6.0}
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("bf16", "expected"), [(0.8, True), (0.89, True), (0.9, False), (2, False)]
)
def test_bf16_is_faster_if_it_saves_more_than_a_tenth(bf16: float, expected: bool) -> None:
    assert is_bf16_faster({"f32": 1.0, "bf16": bf16}) is expected


def test_only_auto_measures() -> None:
    def fail() -> dict[str, float]:
        raise AssertionError("no measurement is needed")

    assert choose_autocast_dtype("none", fail) == (None, {})
    assert choose_autocast_dtype("bf16", fail) == (torch.bfloat16, {})
    slow, fast = (
        {"f32": 1.0, "bf16": 1.5},
        {"f32": 1.0, "bf16": 0.5},
    )
    assert choose_autocast_dtype("auto", lambda: slow) == (None, slow)
    assert choose_autocast_dtype("auto", lambda: fast) == (torch.bfloat16, fast)
