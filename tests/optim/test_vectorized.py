"""The optimizer for many trials updates each trial as torch.optim does."""

import pytest
import torch
from torch import nn

from veduta.config.settings import Settings
from veduta.optim import vectorized
from veduta.optim.optimizers import OPTIMIZERS, build_optimizer, set_learning_rate
from veduta.optim.rules import RULES
from veduta.optim.schedules import build_schedule
from veduta.optim.vectorized import VectorizedOptimizer

SHAPES = {"weight": (4, 3), "bias": (4,)}
STEPS, STEPS_PER_EPOCH = 7, 3


def create_trials(rule: str) -> list[Settings]:
    """Return settings of three trials that differ in all settings of an optimizer."""
    name, nesterov = ("sgd", True) if rule == "nesterov" else (rule, False)
    names = ("lr", "weight_decay", "momentum", "betas", "l1", "schedule", "warmup", "epochs")
    rows = [
        (0.01, 0.0, 0.9, (0.9, 0.999), 0.02, "constant", 0, 9),
        (0.1, 0.3, 0.5, (0.0, 0.9), 0.0, "cosine", 1, 3),
        (1e-3, 0.01, 0.1, (0.8, 0), 0.1, "step", 0.4, 4),
    ]
    shared = {"optimizer": name, "nesterov": nesterov}
    return [Settings(**shared, **dict(zip(names, row, strict=True))) for row in rows]


def draw_tensors(seed: int, trials: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(trials, *shape, generator=generator, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def train_with_torch(settings: Settings, index: int, steps: range) -> list[torch.Tensor]:
    """Train the trial with this index alone, by an optimizer of torch.optim."""
    parameters = [nn.Parameter(value[index].clone()) for value in draw_tensors(99, 3).values()]
    optimizer = build_optimizer([(1.0, parameters)], settings)
    schedule = build_schedule(settings, STEPS_PER_EPOCH)
    for step in steps:
        set_learning_rate(optimizer, settings.lr * schedule(step))
        for parameter, gradient in zip(parameters, draw_tensors(step, 3).values(), strict=True):
            parameter.grad = gradient[index].clone()
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def is_close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-13, atol=1e-13)


def test_every_optimizer_has_a_rule() -> None:
    assert set(RULES) == {*OPTIMIZERS, "nesterov"}


@pytest.mark.parametrize(
    ("piece_size", "threshold"),
    [(2**16, 2**15), (24, 2**15), (5, 2**15), (2**16, 5), (2**16, 1)],
    ids=["one piece", "two rows", "part of a row", "kernel for weights", "kernel for all"],
)
@pytest.mark.parametrize("rule", RULES)
def test_each_trial_is_updated_as_by_torch(
    rule: str, piece_size: int, threshold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectorized, "PIECE_SIZE", piece_size)
    monkeypatch.setattr(vectorized, "KERNEL_THRESHOLD", threshold)
    trials, parameters, gradients = create_trials(rule), draw_tensors(99, 3), draw_tensors(0, 3)
    optimizer = VectorizedOptimizer(trials, parameters, gradients, steps=STEPS_PER_EPOCH)
    for step in range(STEPS):
        for name, gradient in draw_tensors(step, 3).items():
            gradients[name].copy_(gradient)
        optimizer.step()
    for index, settings in enumerate(trials):
        expected_weights = train_with_torch(settings, index, range(STEPS))
        for name, expected in zip(SHAPES, expected_weights, strict=True):
            assert is_close(parameters[name][index], expected), (rule, index, name)


@pytest.mark.parametrize("threshold", [2**15, 1], ids=["pieces", "kernel"])
@pytest.mark.parametrize("rule", RULES)
def test_remaining_trials_continue_unchanged_when_others_are_removed(
    rule: str, threshold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectorized, "KERNEL_THRESHOLD", threshold)
    trials, parameters, gradients = create_trials(rule), draw_tensors(99, 3), draw_tensors(0, 3)
    optimizer = VectorizedOptimizer(trials, parameters, gradients, steps=STEPS_PER_EPOCH)
    remaining = torch.tensor([0, 1, 2])
    for step in range(STEPS):
        if step == 3:
            remaining = torch.tensor([0, 2])
            parameters = {name: value[remaining] for name, value in parameters.items()}
            gradients = {name: value[remaining] for name, value in gradients.items()}
            optimizer.keep_trials(remaining, parameters, gradients)
        for name, gradient in draw_tensors(step, 3).items():
            gradients[name].copy_(gradient[remaining])
        optimizer.step()
    for position, index in enumerate((0, 2)):
        expected_weights = train_with_torch(trials[index], index, range(STEPS))
        for name, expected in zip(SHAPES, expected_weights, strict=True):
            assert is_close(parameters[name][position], expected), (rule, index, name)
