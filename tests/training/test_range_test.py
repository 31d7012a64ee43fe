"""The range test: learning rates, steps against a plain loop, its end, and the suggestion."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.networks.heads import build_head_network
from veduta.runtime.streams import mix_bits
from veduta.training.examples import Examples
from veduta.training.loop import shuffle_examples
from veduta.training.range_test import RangeStep, run_range_test, suggest_learning_rates

SETTINGS = Settings(optimizer="sgd", momentum=0.0, batch_size=10, lr=123.0, schedule="cosine")


def create_examples(count: int) -> Examples:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (count,), generator=generator)
    features = torch.randn(count, 5, generator=generator) + 2 * labels[:, None]
    return Examples(features, labels, mix_bits(np.arange(count, dtype=np.uint64)))


def test_the_steps_equal_a_plain_loop_with_increasing_rates() -> None:
    train = create_examples(30)
    steps = list(
        run_range_test(
            build_head_network(Head(5, 3), 0), train, SETTINGS, low=1e-3, high=1.0, steps=7
        )
    )
    assert [step.step for step in steps] == list(range(1, 8))
    assert [step.lr for step in steps] == pytest.approx([10 ** (-3 + k / 2) for k in range(7)])

    plain, mean = build_head_network(Head(5, 3), 0), 0.0
    optimizer = torch.optim.SGD(plain.parameters(), 1.0)
    order = np.concatenate([shuffle_examples(train, 0, epoch) for epoch in (1, 2, 3)])
    for number, step in enumerate(steps):
        rows = order[10 * number : 10 * number + 10]
        optimizer.param_groups[0]["lr"] = step.lr
        loss = cross_entropy(plain(train.features[rows]), train.labels[rows])  # type: ignore[index]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean = 0.9 * mean + 0.1 * loss.item()
        assert step.loss == pytest.approx(loss.item(), rel=1e-6)
        assert step.smoothed == pytest.approx(mean / (1 - 0.9 ** (number + 1)), rel=1e-6)


def test_the_test_ends_when_the_loss_diverges() -> None:
    settings = SETTINGS.model_copy(update={"batch_size": 8})
    network = build_head_network(Head(5, 3), 0)
    steps = list(
        run_range_test(network, create_examples(40), settings, low=1e-3, high=1e6, steps=100)
    )
    minima = np.minimum.accumulate([step.smoothed for step in steps])
    diverged = [step.smoothed > 4 * low for step, low in zip(steps, minima, strict=True)]
    assert len(steps) < 100
    assert diverged.index(True) == len(steps) - 1


def test_a_non_finite_loss_ends_the_test() -> None:
    broken = create_examples(40)
    broken.features[:] = 1e30  # type: ignore[index]
    steps = list(run_range_test(build_head_network(Head(5, 3), 0), broken, SETTINGS, steps=50))
    assert len(steps) < 50
    assert all(math.isfinite(step.loss) for step in steps)


def create_steps(losses: list[float], noise: float = 0.0) -> list[RangeStep]:
    """Return ten steps without a decrease, then these losses at rates from 1e-5, times 10 each."""
    start = [RangeStep(n, 1e-9, 2.0 + noise * (-1) ** n, 2.0 - n) for n in range(10)]
    return [
        *start,
        *(RangeStep(n + 10, 10.0 ** (n - 5), 0.0, loss) for n, loss in enumerate(losses)),
    ]


def test_the_suggestion_is_the_steepest_descent_and_a_tenth_of_the_minimum() -> None:
    # slopes by central differences: 0, -0.1, -0.5, -0.7, -0.35, 0.25 per decade
    suggestion = suggest_learning_rates(create_steps([2.0, 2.0, 1.8, 1.0, 0.4, 0.3, 0.9, 5.0]))
    assert suggestion is not None
    assert suggestion.steepest == pytest.approx(1e-2)
    assert suggestion.tenth_of_minimum == pytest.approx(1e-1)


def test_a_decrease_after_the_minimum_is_ignored() -> None:
    suggestion = suggest_learning_rates(create_steps([2.0, 1.7, 1.0, 0.9, 8.0, 1.5]))
    assert suggestion is not None
    assert suggestion.steepest == pytest.approx(1e-4)


def test_a_decrease_within_the_noise_gives_no_suggestion() -> None:
    losses = [2.0, 1.98, 1.95, 1.92, 3.0]
    assert suggest_learning_rates(create_steps(losses, noise=0.07)) is not None
    assert suggest_learning_rates(create_steps(losses, noise=0.09)) is None


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 2.0, 3.0, 4.0]], ids=len)
def test_without_a_decrease_there_is_no_suggestion(losses: list[float]) -> None:
    assert suggest_learning_rates(create_steps(losses)) is None
