"""Updates of many trials at once: each trial's is torch.optim's own."""

import pytest
import torch
from torch import nn

from veduta.config.settings import Settings
from veduta.optim import vectorized as vectorised
from veduta.optim.optimizers import OPTIMIZERS, build_optimizer, set_learning_rate
from veduta.optim.rules import RULES
from veduta.optim.schedules import build_schedule
from veduta.optim.vectorized import VectorisedOptimizer

SHAPES = {"weight": (4, 3), "bias": (4,)}
STEPS, EPOCH = 7, 3


def varied(rule: str) -> list[Settings]:
    """Three trials that differ in all that an optimiser may vary."""
    name, nesterov = ("sgd", True) if rule == "nesterov" else (rule, False)
    names = ("lr", "weight_decay", "momentum", "betas", "l1", "schedule", "warmup", "epochs")
    rows = [
        (0.01, 0.0, 0.9, (0.9, 0.999), 0.02, "constant", 0, 9),
        (0.1, 0.3, 0.5, (0.0, 0.9), 0.0, "cosine", 1, 3),
        (1e-3, 0.01, 0.1, (0.8, 0), 0.1, "step", 0.4, 4),
    ]
    shared = {"optimizer": name, "nesterov": nesterov}
    return [Settings(**shared, **dict(zip(names, row, strict=True))) for row in rows]


def drawn(seed: int, trials: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(trials, *shape, generator=generator, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def alone(settings: Settings, place: int, steps: range) -> list[torch.Tensor]:
    """One trial by torch.optim."""
    parameters = [nn.Parameter(value[place].clone()) for value in drawn(99, 3).values()]
    optimizer = build_optimizer([(1.0, parameters)], settings)
    schedule = build_schedule(settings, EPOCH)
    for step in steps:
        set_learning_rate(optimizer, settings.lr * schedule(step))
        for parameter, gradient in zip(parameters, drawn(step, 3).values(), strict=True):
            parameter.grad = gradient[place].clone()
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-13, atol=1e-13)


def test_it_has_a_rule_for_every_optimiser() -> None:
    assert set(RULES) == {*OPTIMIZERS, "nesterov"}


@pytest.mark.parametrize(
    ("piece", "large"),
    [(2**16, 2**15), (24, 2**15), (5, 2**15), (2**16, 5), (2**16, 1)],
    ids=["one piece", "two rows", "part of a row", "weights in one pass", "all in one pass"],
)
@pytest.mark.parametrize("rule", RULES)
def test_each_trial_moves_as_with_torchs_own(
    rule: str, piece: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectorised, "PIECE", piece)
    monkeypatch.setattr(vectorised, "LARGE", large)
    trials, parameters, gradients = varied(rule), drawn(99, 3), drawn(0, 3)
    optimizer = VectorisedOptimizer(trials, parameters, gradients, steps=EPOCH)
    for step in range(STEPS):
        for name, value in drawn(step, 3).items():
            gradients[name].copy_(value)
        optimizer.step()
    for place, settings in enumerate(trials):
        for name, expected in zip(SHAPES, alone(settings, place, range(STEPS)), strict=True):
            assert same(parameters[name][place], expected), (rule, place, name)


@pytest.mark.parametrize("large", [2**15, 1], ids=["pieces", "one pass"])
@pytest.mark.parametrize("rule", RULES)
def test_those_that_are_kept_go_on_as_before(
    rule: str, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectorised, "LARGE", large)
    trials, parameters, gradients = varied(rule), drawn(99, 3), drawn(0, 3)
    optimizer = VectorisedOptimizer(trials, parameters, gradients, steps=EPOCH)
    kept = torch.tensor([0, 1, 2])
    for step in range(STEPS):
        if step == 3:
            kept = torch.tensor([0, 2])
            parameters = {name: value[kept] for name, value in parameters.items()}
            gradients = {name: value[kept] for name, value in gradients.items()}
            optimizer.keep(kept, parameters, gradients)
        for name, value in drawn(step, 3).items():
            gradients[name].copy_(value[kept])
        optimizer.step()
    for slot, place in enumerate((0, 2)):
        for name, expected in zip(SHAPES, alone(trials[place], place, range(STEPS)), strict=True):
            assert same(parameters[name][slot], expected), (rule, place, name)
