"""Schedules against torch.optim.lr_scheduler, step by step, and warm-up against its own."""

from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from veduta.config.settings import Settings
from veduta.optim.schedules import SCHEDULES, is_constant, schedule_faults, schedule_of

LR = 0.3
Build = Callable[[torch.optim.Optimizer, int], lr_scheduler.LRScheduler]


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps, cycle_momentum=False)


TORCH: dict[str, Build] = {
    "constant": lambda optimizer, _: lr_scheduler.ConstantLR(optimizer, factor=1),
    "cosine": lr_scheduler.CosineAnnealingLR,
    "one_cycle": one_cycle,
    "step": lambda o, n: lr_scheduler.MultiStepLR(o, [-(-n // 2), -(-3 * n // 4)], gamma=0.1),
}


def rates(build: Build, steps: int, after: int = 0) -> list[float]:
    """Learning rates of torch's scheduler; `after` so many steps of linear warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], LR)
    scheduler = build(optimizer, steps - after)
    if after:
        warm = lr_scheduler.LinearLR(optimizer, start_factor=1 / (after + 1), total_iters=after)
        scheduler = lr_scheduler.SequentialLR(optimizer, [warm, scheduler], [after])
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(found) < steps:
            scheduler.step()
    return found


def ours(settings: Settings, per_epoch: int) -> list[float]:
    schedule = schedule_of(settings, per_epoch)
    return [LR * schedule(step) for step in range(settings.epochs * per_epoch)]


@pytest.mark.parametrize(("epochs", "per_epoch"), [(20, 7), (3, 1), (1, 2), (5, 53)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_it_is_torchs_own(name: str, epochs: int, per_epoch: int) -> None:
    mine = ours(Settings(schedule=name, epochs=epochs), per_epoch)
    assert mine == pytest.approx(rates(TORCH[name], epochs * per_epoch), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("warmup", "steps"), [(1, 7), (2.5, 18), (0.1, 1), (0.05, 0)])
@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch's own, in SequentialLR
def test_warm_up_is_torchs_own(name: str, warmup: float, steps: int) -> None:
    mine = ours(Settings(schedule=name, epochs=6, warmup=warmup), 7)
    assert mine == pytest.approx(rates(TORCH[name], 42, after=steps), rel=1e-9, abs=1e-15)


def test_warm_up_rises_to_where_one_cycle_starts() -> None:
    mine = ours(Settings(schedule="one_cycle", epochs=5, warmup=1), 4)
    assert mine[4:] == pytest.approx(rates(one_cycle, 16), rel=1e-9)
    assert mine[:4] == pytest.approx([LR / 25 * share for share in (0.2, 0.4, 0.6, 0.8)])


def test_by_hand() -> None:
    assert ours(Settings(schedule="step", epochs=4), 1) == pytest.approx(
        [LR, LR, LR / 10, LR / 100]
    )
    assert ours(Settings(schedule="cosine", epochs=3), 1) == pytest.approx([LR, LR * 0.75, LR / 4])
    assert ours(Settings(epochs=3, warmup=1), 2) == pytest.approx([LR / 3, LR * 2 / 3, *[LR] * 4])


@pytest.mark.parametrize("name", SCHEDULES)
def test_one_step_trains_too(name: str) -> None:
    assert 0 < schedule_of(Settings(schedule=name, epochs=1), 1)(0) <= 1
    assert 0 < schedule_of(Settings(schedule=name, epochs=2, warmup=1.99), 1)(1) <= 1


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_constant_is_what_is_said_to_be(name: str, warmup: float) -> None:
    settings = Settings(schedule=name, warmup=warmup, epochs=4, lr=LR)
    assert is_constant(settings) is (set(ours(settings, 3)) == {LR})


def test_warm_up_leaves_an_epoch_for_the_rest() -> None:
    (fault,) = schedule_faults(Settings(warmup=3, epochs=3))
    assert fault == (
        "warmup must be less than epochs; got warmup 3 and epochs 3: "
        "lower the one or raise the other"
    )
    assert not schedule_faults(Settings(warmup=2.9, epochs=3))


def test_the_head_alone_has_the_rate_itself_and_the_schedule_comes_after() -> None:
    alone = schedule_of(Settings(schedule="cosine", epochs=5, freeze_epochs=2, warmup=1), 4)
    after = schedule_of(Settings(schedule="cosine", epochs=3, warmup=1), 4)
    assert [alone(step) for step in range(8)] == [1.0] * 8
    assert [alone(step) for step in range(8, 20)] == [after(step) for step in range(12)]
    (fault,) = schedule_faults(Settings(epochs=2, freeze_epochs=2))
    assert "freeze_epochs 2 and epochs 2" in fault
    (fault,) = schedule_faults(Settings(epochs=3, freeze_epochs=2, warmup=1))
    assert "2 of them of the head alone" in fault
