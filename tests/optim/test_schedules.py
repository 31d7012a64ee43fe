"""Schedules and warm-up against torch.optim.lr_scheduler, step by step, and by hand."""

from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from veduta.config.settings import Settings
from veduta.optim.schedules import SCHEDULES, build_schedule, find_schedule_errors, is_constant

LR = 0.3
BuildScheduler = Callable[[torch.optim.Optimizer, int], lr_scheduler.LRScheduler]


def build_one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps, cycle_momentum=False)


REFERENCE: dict[str, BuildScheduler] = {
    "constant": lambda optimizer, _: lr_scheduler.ConstantLR(optimizer, factor=1),
    "cosine": lr_scheduler.CosineAnnealingLR,
    "one_cycle": build_one_cycle,
    "step": lambda o, n: lr_scheduler.MultiStepLR(o, [-(-n // 2), -(-3 * n // 4)], gamma=0.1),
}


def compute_reference_rates(
    build: BuildScheduler, steps: int, warmup_steps: int = 0
) -> list[float]:
    """Compute the learning rates of torch's scheduler, after `warmup_steps` of linear warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], LR)
    scheduler = build(optimizer, steps - warmup_steps)
    if warmup_steps:
        warmup = lr_scheduler.LinearLR(
            optimizer, start_factor=1 / (warmup_steps + 1), total_iters=warmup_steps
        )
        scheduler = lr_scheduler.SequentialLR(optimizer, [warmup, scheduler], [warmup_steps])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < steps:
            scheduler.step()
    return rates


def compute_rates(settings: Settings, steps_per_epoch: int) -> list[float]:
    schedule = build_schedule(settings, steps_per_epoch)
    return [LR * schedule(step) for step in range(settings.epochs * steps_per_epoch)]


@pytest.mark.parametrize(("epochs", "steps_per_epoch"), [(20, 7), (3, 1), (1, 2), (5, 53)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_equals_torch(name: str, epochs: int, steps_per_epoch: int) -> None:
    rates = compute_rates(Settings(schedule=name, epochs=epochs), steps_per_epoch)
    expected = compute_reference_rates(REFERENCE[name], epochs * steps_per_epoch)
    assert rates == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("warmup", "steps"), [(1, 7), (2.5, 18), (0.1, 1), (0.05, 0)])
@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # raised inside torch's SequentialLR
def test_warmup_equals_torch(name: str, warmup: float, steps: int) -> None:
    rates = compute_rates(Settings(schedule=name, epochs=6, warmup=warmup), 7)
    expected = compute_reference_rates(REFERENCE[name], 42, warmup_steps=steps)
    assert rates == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_warmup_rises_to_the_start_of_one_cycle() -> None:
    rates = compute_rates(Settings(schedule="one_cycle", epochs=5, warmup=1), 4)
    assert rates[4:] == pytest.approx(compute_reference_rates(build_one_cycle, 16), rel=1e-9)
    assert rates[:4] == pytest.approx([LR / 25 * fraction for fraction in (0.2, 0.4, 0.6, 0.8)])


@pytest.mark.parametrize(
    ("settings", "steps_per_epoch", "expected"),
    [
        (Settings(schedule="step", epochs=4), 1, [1, 1, 0.1, 0.01]),
        (Settings(schedule="cosine", epochs=3), 1, [1, 0.75, 0.25]),
        (Settings(epochs=3, warmup=1), 2, [1 / 3, 2 / 3, 1, 1, 1, 1]),
    ],
    ids=["step", "cosine", "warmup"],
)
def test_schedule_by_hand(settings: Settings, steps_per_epoch: int, expected: list[float]) -> None:
    rates = compute_rates(settings, steps_per_epoch)
    assert rates == pytest.approx([LR * factor for factor in expected])


@pytest.mark.parametrize("name", SCHEDULES)
def test_single_step_has_a_positive_learning_rate(name: str) -> None:
    assert 0 < build_schedule(Settings(schedule=name, epochs=1), 1)(0) <= 1
    assert 0 < build_schedule(Settings(schedule=name, epochs=2, warmup=1.99), 1)(1) <= 1


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_is_constant_exactly_if_all_learning_rates_are_equal(name: str, warmup: float) -> None:
    settings = Settings(schedule=name, warmup=warmup, epochs=4, lr=LR)
    assert is_constant(settings) is (set(compute_rates(settings, 3)) == {LR})


def test_schedule_starts_after_the_epochs_that_train_only_the_head() -> None:
    settings = Settings(schedule="cosine", epochs=5, freeze_epochs=2, warmup=1)
    schedule = build_schedule(settings, 4)
    expected = build_schedule(Settings(schedule="cosine", epochs=3, warmup=1), 4)
    assert [schedule(step) for step in range(8)] == [1.0] * 8
    assert [schedule(step) for step in range(8, 20)] == [expected(step) for step in range(12)]


def test_warmup_must_be_shorter_than_training() -> None:
    (error,) = find_schedule_errors(Settings(warmup=3, epochs=3))
    assert "warmup 3 and epochs 3" in error
    assert not find_schedule_errors(Settings(warmup=2.9, epochs=3))
    (error,) = find_schedule_errors(Settings(epochs=3, freeze_epochs=2, warmup=1))
    assert "warmup 1 and epochs 3 and freeze_epochs 2" in error


def test_freeze_epochs_must_be_less_than_epochs() -> None:
    (error,) = find_schedule_errors(Settings(epochs=2, freeze_epochs=2))
    assert "freeze_epochs 2 and epochs 2" in error
