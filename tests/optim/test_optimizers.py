"""Optimizers by name against torch.optim, and penalties against autograd, for each optimizer."""

import pytest
import torch
from torch import Tensor, nn

from veduta.config.settings import Settings
from veduta.optim.optimizers import (
    OPTIMIZER_SETTINGS,
    OPTIMIZERS,
    build_optimizer,
    find_optimizer_errors,
    select_penalized,
    set_learning_rate,
)

REFERENCE = {
    "adagrad": lambda p, s: torch.optim.Adagrad(p, s.lr),
    "adam": lambda p, s: torch.optim.Adam(p, s.lr, s.betas),
    "adamw": lambda p, s: torch.optim.AdamW(p, s.lr, s.betas, weight_decay=0),
    "rmsprop": lambda p, s: torch.optim.RMSprop(p, s.lr),
    "sgd": lambda p, s: torch.optim.SGD(p, s.lr, s.momentum, nesterov=s.nesterov),
}
L1 = 0.2
L1_WEIGHT = torch.tensor([[1.0, -0.3, 0.0]])


def make_parameters() -> list[nn.Parameter]:
    """Make a weight and a bias."""
    return [nn.Parameter(torch.tensor([[1.0, -0.3]])), nn.Parameter(torch.tensor([3.0]))]


def make_l1_parameters() -> tuple[nn.Parameter, nn.Parameter]:
    """Make a weight that contains 0, and a bias."""
    return nn.Parameter(L1_WEIGHT.clone()), nn.Parameter(torch.tensor([3.0]))


def take_steps(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Take three steps that minimize sum(w^3) / 3, whose gradient is w^2."""
    for _ in range(3):
        optimizer.zero_grad()
        sum((p**3).sum() / 3 for p in parameters).backward()  # type: ignore[union-attr]
        optimizer.step()


def train_with_l1(l1: float, *, name: str, loss_penalty: float) -> tuple[Tensor, Tensor]:
    """Take three steps with the L1 penalty of the optimizer and one that is part of the loss."""
    weight, bias = make_l1_parameters()
    optimizer = build_optimizer([(1.0, [weight, bias])], Settings(optimizer=name, lr=0.01, l1=l1))
    for _ in range(3):
        optimizer.zero_grad()
        loss = (weight**3).sum() / 3 + (bias**3).sum() / 3
        (loss + loss_penalty * weight.abs().sum()).backward()
        optimizer.step()
    return weight.detach(), bias.detach()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_equal_torch(name: str) -> None:
    settings = Settings(optimizer=name, lr=0.01, momentum=0.7, nesterov=True, betas=(0.8, 0.95))
    parameters, expected = make_parameters(), make_parameters()
    take_steps(build_optimizer([(1.0, parameters)], settings), parameters)
    take_steps(REFERENCE[name](expected, settings), expected)
    assert all(torch.equal(a, b) for a, b in zip(parameters, expected, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_acts_on_weights_but_not_on_biases(name: str) -> None:
    plain, decayed = make_parameters(), make_parameters()
    take_steps(build_optimizer([(1.0, plain)], Settings(optimizer=name)), plain)
    settings = Settings(optimizer=name, weight_decay=0.5)
    take_steps(build_optimizer([(1.0, decayed)], settings), decayed)
    assert not torch.equal(plain[0], decayed[0])
    assert torch.equal(plain[1], decayed[1])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "change", [{"momentum": 0.5}, {"nesterov": True}, {"betas": (0.5, 0.6)}], ids=str
)
def test_setting_has_an_effect_exactly_if_the_optimizer_uses_it(
    name: str, change: dict[str, object]
) -> None:
    before, after = make_parameters(), make_parameters()
    settings = Settings(optimizer=name)
    take_steps(build_optimizer([(1.0, before)], settings), before)
    take_steps(build_optimizer([(1.0, after)], settings.model_copy(update=change)), after)
    is_used = set(change) <= OPTIMIZERS[name].uses
    assert torch.equal(before[0], after[0]) is not is_used
    assert set(change) <= OPTIMIZER_SETTINGS


def test_sgd_step_by_hand_equation_39() -> None:
    weight = nn.Parameter(torch.tensor([[2.0]]))
    optimizer = build_optimizer(
        [(1.0, [weight])], Settings(optimizer="sgd", lr=0.1, momentum=0, weight_decay=0.5)
    )
    (weight**3 / 3).sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx((1 - 0.1 * 0.5) * 2 - 0.1 * 4)


def test_nesterov_without_momentum_is_an_error_for_sgd_only() -> None:
    assert find_optimizer_errors(Settings(optimizer="sgd", nesterov=True, momentum=0))
    assert not find_optimizer_errors(Settings(optimizer="adam", nesterov=True, momentum=0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_scaled_group_takes_the_steps_of_the_scaled_learning_rate(name: str) -> None:
    settings = Settings(optimizer=name, weight_decay=0.1, l1=0.01)
    grouped, single = make_parameters(), make_parameters()
    optimizer = build_optimizer([(0.1, grouped[:1]), (1.0, grouped[1:])], settings)
    single_optimizer = build_optimizer([(1.0, single[:1])], settings)
    for lr in (0.02, 0.005):
        set_learning_rate(optimizer, lr)
        set_learning_rate(single_optimizer, lr / 10)
        assert {group["lr"] for group in optimizer.param_groups} == {lr * 0.1, lr}
        take_steps(optimizer, grouped)
        take_steps(single_optimizer, single[:1])
    assert torch.allclose(grouped[0], single[0], rtol=1e-6, atol=0)


def test_scale_of_a_group_is_part_of_the_state() -> None:
    optimizer = build_optimizer([(0.1, make_parameters()), (1.0, make_parameters())], Settings())
    restored = build_optimizer([(1.0, make_parameters()), (1.0, make_parameters())], Settings())
    restored.load_state_dict(optimizer.state_dict())
    set_learning_rate(restored, 1.0)
    assert [group["lr"] for group in restored.param_groups] == [0.1, 0.1, 1.0, 1.0]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("penalty", ["weight_decay", "l1"])
def test_penalize_all_acts_on_biases_as_on_weights(name: str, penalty: str) -> None:
    results = []
    for penalize, shape in (("all", (1,)), ("weights", (1, 1)), ("weights", (1,))):
        settings = Settings(optimizer=name, lr=0.1, penalize=penalize, **{penalty: 0.5})
        parameter = nn.Parameter(torch.ones(shape, dtype=torch.float64))
        take_steps(build_optimizer([(1.0, [parameter])], settings), [parameter])
        results.append(parameter.item())
    penalized_bias, penalized_weight, other_bias = results
    assert penalized_bias == penalized_weight != other_bias


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_l1_penalty_equals_the_penalty_as_part_of_the_loss(name: str) -> None:
    weight, bias = train_with_l1(L1, name=name, loss_penalty=0.0)
    expected_weight, _ = train_with_l1(0.0, name=name, loss_penalty=L1)
    plain_weight, plain_bias = train_with_l1(0.0, name=name, loss_penalty=0.0)
    assert torch.allclose(weight, expected_weight, rtol=1e-6, atol=0)
    assert not torch.equal(weight, plain_weight)
    assert torch.equal(bias, plain_bias)


def test_step_with_l1_penalty_by_hand() -> None:
    weight, bias = make_l1_parameters()
    settings = Settings(optimizer="sgd", momentum=0.0, lr=0.5, l1=L1)
    optimizer = build_optimizer([(1.0, [weight, bias])], settings)
    (weight.sum() + bias.sum()).backward()
    optimizer.step()
    expected = torch.tensor([[1 - 0.5 * 1.2, -0.3 - 0.5 * 0.8, -0.5]])  # subgradient 0 at 0
    assert torch.allclose(weight, expected)
    assert bias.item() == 2.5


def test_weight_without_gradient_is_not_penalized() -> None:
    used, unused = nn.Parameter(L1_WEIGHT.clone()), nn.Parameter(L1_WEIGHT.clone())
    optimizer = build_optimizer([(1.0, [used, unused])], Settings(optimizer="sgd", l1=L1))
    used.sum().backward()
    optimizer.step()
    assert torch.equal(unused, L1_WEIGHT)
    assert not torch.equal(used, L1_WEIGHT)


def test_penalized_parameters_are_matrices_and_kernels() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    penalized = select_penalized(layers.parameters())
    assert [tuple(weight.shape) for weight in penalized] == [(4, 3, 3, 3), (2, 4)]
