"""Optimisers by name: one table, the same checks for each."""

import pytest
import torch
from torch import nn

from veduta.config.settings import Settings
from veduta.optim.optimizers import (
    OPTIMIZERS,
    USED_BY_SOME,
    build_optimizer,
    faults_of,
    set_rate,
)

REFERENCE = {
    "adagrad": lambda p, s: torch.optim.Adagrad(p, s.lr),
    "adam": lambda p, s: torch.optim.Adam(p, s.lr, s.betas),
    "adamw": lambda p, s: torch.optim.AdamW(p, s.lr, s.betas, weight_decay=0),
    "rmsprop": lambda p, s: torch.optim.RMSprop(p, s.lr),
    "sgd": lambda p, s: torch.optim.SGD(p, s.lr, s.momentum, nesterov=s.nesterov),
}


def descend(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Three steps down sum(w^3) / 3, whose gradient is w^2."""
    for _ in range(3):
        optimizer.zero_grad()
        sum((p**3).sum() / 3 for p in parameters).backward()
        optimizer.step()


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([[1.0, -0.3]])), nn.Parameter(torch.tensor([3.0]))]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_torchs_own(name: str) -> None:
    settings = Settings(optimizer=name, lr=0.01, momentum=0.7, nesterov=True, betas=(0.8, 0.95))
    mine, theirs = parameters(), parameters()
    descend(build_optimizer([(1.0, mine)], settings), mine)
    descend(REFERENCE[name](theirs, settings), theirs)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_acts_on_weights_and_not_on_biases(name: str) -> None:
    plain, decayed = parameters(), parameters()
    descend(build_optimizer([(1.0, plain)], Settings(optimizer=name)), plain)
    settings = Settings(optimizer=name, weight_decay=0.5)
    descend(build_optimizer([(1.0, decayed)], settings), decayed)
    assert not torch.equal(plain[0], decayed[0])
    assert torch.equal(plain[1], decayed[1])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "change", [{"momentum": 0.5}, {"nesterov": True}, {"betas": (0.5, 0.6)}], ids=str
)
def test_a_setting_matters_exactly_where_it_is_said_to(
    name: str, change: dict[str, object]
) -> None:
    before, after = parameters(), parameters()
    settings = Settings(optimizer=name)
    descend(build_optimizer([(1.0, before)], settings), before)
    descend(build_optimizer([(1.0, after)], settings.model_copy(update=change)), after)
    used = set(change) <= OPTIMIZERS[name].uses
    assert torch.equal(before[0], after[0]) is not used
    assert set(change) <= USED_BY_SOME


def test_sgd_by_hand_equation_39() -> None:
    weight = nn.Parameter(torch.tensor([[2.0]]))
    optimizer = build_optimizer(
        [(1.0, [weight])], Settings(optimizer="sgd", lr=0.1, momentum=0, weight_decay=0.5)
    )
    (weight**3 / 3).sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx((1 - 0.1 * 0.5) * 2 - 0.1 * 4)


def test_nesterov_needs_momentum() -> None:
    assert faults_of(Settings(optimizer="sgd", nesterov=True, momentum=0))
    assert not faults_of(Settings(optimizer="adam", nesterov=True, momentum=0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_have_rates_of_their_own_and_follow_the_schedule(name: str) -> None:
    """A group that trains at a tenth of the rate takes the steps of a tenth of the rate."""
    settings = Settings(optimizer=name, weight_decay=0.1, l1=0.01)
    together, alone = parameters(), parameters()
    optimizer = build_optimizer([(0.1, together[:1]), (1.0, together[1:])], settings)
    single = build_optimizer([(1.0, alone[:1])], settings)
    for lr in (0.02, 0.005):
        set_rate(optimizer, lr)
        set_rate(single, lr / 10)
        assert {group["lr"] for group in optimizer.param_groups} == {lr * 0.1, lr}
        descend(optimizer, together)
        descend(single, alone[:1])
    assert torch.allclose(together[0], alone[0], rtol=1e-6, atol=0)


def test_the_scale_of_a_group_is_saved_with_the_optimiser() -> None:
    groups = [(0.1, parameters()), (1.0, parameters())]
    optimizer = build_optimizer(groups, Settings())
    other = build_optimizer([(1.0, parameters()), (1.0, parameters())], Settings())
    other.load_state_dict(optimizer.state_dict())
    set_rate(other, 1.0)
    assert [group["lr"] for group in other.param_groups] == [0.1, 0.1, 1.0, 1.0]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("penalty", ["weight_decay", "l1"])
def test_penalties_act_on_all_where_that_is_asked_for(name: str, penalty: str) -> None:
    """As on a weight that has the bias's number."""
    ends = []
    for penalise, shape in (("all", (1,)), ("weights", (1, 1)), ("weights", (1,))):
        settings = Settings(optimizer=name, lr=0.1, penalise=penalise, **{penalty: 0.5})
        parameter = nn.Parameter(torch.ones(shape, dtype=torch.float64))
        descend(build_optimizer([(1.0, [parameter])], settings), [parameter])
        ends.append(parameter.item())
    assert ends[0] == ends[1] != ends[2]
