"""The range test: its rates, its steps against a plain loop, its end, and what it suggests."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from veduta.config.settings import Settings
from veduta.networks.heads import Head, build_head
from veduta.runtime.streams import mix
from veduta.training.loop import shuffled
from veduta.training.range_test import Rate, range_test, suggestion
from veduta.training.state import Examples

SETTINGS = Settings(optimizer="sgd", momentum=0.0, batch_size=10, lr=123.0, schedule="cosine")


def examples(count: int) -> Examples:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (count,), generator=generator)
    features = torch.randn(count, 5, generator=generator) + 2 * labels[:, None]
    return Examples(features, labels, mix(np.arange(count, dtype=np.uint64)))


def test_its_steps_are_those_of_a_plain_loop_with_a_rising_rate() -> None:
    train = examples(30)
    found = list(
        range_test(build_head(Head(5, 3), 0), train, SETTINGS, low=1e-3, high=1.0, steps=7)
    )
    assert [rate.step for rate in found] == list(range(1, 8))
    assert [rate.lr for rate in found] == pytest.approx([10 ** (-3 + k / 2) for k in range(7)])

    plain, mean = build_head(Head(5, 3), 0), 0.0
    optimizer = torch.optim.SGD(plain.parameters(), 1.0)
    order = np.concatenate([shuffled(train, 0, epoch) for epoch in (1, 2, 3)])
    for number, rate in enumerate(found):
        rows = order[10 * number : 10 * number + 10]
        optimizer.param_groups[0]["lr"] = rate.lr
        loss = cross_entropy(plain(train.features[rows]), train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean = 0.9 * mean + 0.1 * loss.item()
        assert rate.loss == pytest.approx(loss.item(), rel=1e-6)
        assert rate.smoothed == pytest.approx(mean / (1 - 0.9 ** (number + 1)), rel=1e-6)


def test_it_ends_where_the_loss_has_run_away() -> None:
    settings = SETTINGS.model_copy(update={"batch_size": 8})
    network = build_head(Head(5, 3), 0)
    found = list(range_test(network, examples(40), settings, low=1e-3, high=1e6, steps=100))
    best = np.minimum.accumulate([rate.smoothed for rate in found])
    over = [rate.smoothed > 4 * low for rate, low in zip(found, best, strict=True)]
    assert len(found) < 100
    assert over.index(True) == len(found) - 1


def test_a_loss_that_is_no_number_ends_it() -> None:
    broken = examples(40)
    broken.features[:] = 1e30  # type: ignore[index]
    found = list(range_test(build_head(Head(5, 3), 0), broken, SETTINGS, steps=50))
    assert len(found) < 50
    assert all(math.isfinite(rate.loss) for rate in found)


def curve(losses: list[float], scatter: float = 0.0) -> list[Rate]:
    """Ten steps at which nothing happens, then these losses, a decade a step from 1e-5."""
    start = [Rate(n, 1e-9, 2.0 + scatter * (-1) ** n, 2.0 - n) for n in range(10)]
    return [*start, *(Rate(n + 10, 10.0 ** (n - 5), 0.0, loss) for n, loss in enumerate(losses))]


def test_the_steepest_descent_and_a_tenth_of_the_minimum() -> None:
    # slopes by central differences: 0, -0.1, -0.5, -0.7, -0.35, 0.25 a decade
    found = suggestion(curve([2.0, 2.0, 1.8, 1.0, 0.4, 0.3, 0.9, 5.0]))
    assert found is not None
    assert found.steepest == pytest.approx(1e-2)
    assert found.tenth == pytest.approx(1e-1)


def test_a_fall_behind_the_minimum_does_not_count() -> None:
    found = suggestion(curve([2.0, 1.7, 1.0, 0.9, 8.0, 1.5]))
    assert found is not None
    assert found.steepest == pytest.approx(1e-4)


def test_a_fall_within_the_scatter_of_the_losses_is_none() -> None:
    losses = [2.0, 1.98, 1.95, 1.92, 3.0]
    assert suggestion(curve(losses, scatter=0.07)) is not None
    assert suggestion(curve(losses, scatter=0.09)) is None


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 2.0, 3.0, 4.0]], ids=len)
def test_where_the_loss_never_falls_nothing_is_suggested(losses: list[float]) -> None:
    assert suggestion(curve(losses)) is None
