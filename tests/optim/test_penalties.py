"""L1 against autograd through the penalty written into the loss."""

import pytest
import torch
from torch import Tensor, nn

from veduta.config.settings import Settings
from veduta.optim.optimizers import OPTIMIZERS, build_optimizer
from veduta.optim.penalties import penalised

WEIGHT = torch.tensor([[1.0, -0.3, 0.0]])
L1 = 0.2


def network() -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(WEIGHT.clone()), nn.Parameter(torch.tensor([3.0]))


def descend(l1: float, *, name: str, inside: float) -> tuple[Tensor, Tensor]:
    """Three steps down sum(p^3) / 3 over both, with `inside` times the weight's L1 norm added."""
    weight, bias = network()
    optimizer = build_optimizer([(1.0, [weight, bias])], Settings(optimizer=name, lr=0.01, l1=l1))
    for _ in range(3):
        optimizer.zero_grad()
        ((weight**3).sum() / 3 + (bias**3).sum() / 3 + inside * weight.abs().sum()).backward()
        optimizer.step()
    return weight.detach(), bias.detach()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_the_gradient_of_the_penalty_over_weights_alone(name: str) -> None:
    mine = descend(L1, name=name, inside=0.0)
    theirs = descend(0.0, name=name, inside=L1)
    plain = descend(0.0, name=name, inside=0.0)
    assert torch.allclose(mine[0], theirs[0], rtol=1e-6, atol=0)
    assert not torch.equal(mine[0], plain[0])
    assert torch.equal(mine[1], plain[1])


def test_a_step_by_hand() -> None:
    weight, bias = network()
    settings = Settings(optimizer="sgd", momentum=0.0, lr=0.5, l1=L1)
    optimizer = build_optimizer([(1.0, [weight, bias])], settings)
    (weight.sum() + bias.sum()).backward()
    optimizer.step()
    expected = torch.tensor([[1 - 0.5 * 1.2, -0.3 - 0.5 * 0.8, -0.5]])  # 0 at the kink
    assert torch.allclose(weight, expected)
    assert bias.item() == 2.5


def test_weights_are_matrices_and_kernels() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    found = penalised(layers.parameters())
    assert [tuple(weight.shape) for weight in found] == [(4, 3, 3, 3), (2, 4)]


def test_a_weight_that_has_no_gradient_is_left_alone() -> None:
    weight, still = nn.Parameter(WEIGHT.clone()), nn.Parameter(WEIGHT.clone())
    optimizer = build_optimizer([(1.0, [weight, still])], Settings(optimizer="sgd", l1=L1))
    weight.sum().backward()
    optimizer.step()
    assert torch.equal(still, WEIGHT)
    assert not torch.equal(weight, WEIGHT)
