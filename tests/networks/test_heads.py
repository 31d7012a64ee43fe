"""Heads: the network agrees with its description; initial weights and dropout are correct."""

import numpy as np
import pytest
import torch
from torch import nn

from veduta.config.network_specs import Head
from veduta.networks.catalogue.builtin import ACTIVATIONS
from veduta.networks.heads import build_head_network
from veduta.training.step import create_dropout_noise

LINEAR = Head(10, 3)
REPORT_B = Head(40, 6, hidden=(20,), batch_norm=True, dropout=0.4)
DEEP = Head(10, 3, hidden=(8, 6, 4), activation="tanh", dropout=0.5)


@pytest.mark.parametrize("head", [LINEAR, REPORT_B, DEEP])
def test_the_number_of_parameters_is_that_of_the_network(head: Head) -> None:
    counted = sum(p.numel() for p in build_head_network(head, 0).parameters())
    assert head.parameters == counted


def test_a_head_equals_the_same_stack_of_torch_layers() -> None:
    network = build_head_network(REPORT_B, 0)
    stack = nn.Sequential(nn.Linear(40, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 6))
    with torch.no_grad():
        for source, target in zip(
            [*network.dense[0].parameters(), *network.norms[0].parameters()],
            [*stack[0].parameters(), *stack[1].parameters()],
            strict=True,
        ):
            target.copy_(source)
        stack[3].load_state_dict(network.dense[1].state_dict())
    x = torch.randn(16, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x), stack(x))
    network.eval(), stack.eval()
    assert torch.equal(network(x), stack(x))


def test_initial_weights_depend_only_on_seed_and_shape() -> None:
    first = build_head_network(LINEAR, 0)
    torch.manual_seed(5)
    torch.rand(100)
    again = build_head_network(Head(10, 3, dropout=0.7), 0)  # another trial of the same shape
    other = build_head_network(LINEAR, 1)
    assert torch.equal(first.dense[0].weight, again.dense[0].weight)  # type: ignore[arg-type]
    assert not torch.equal(first.dense[0].weight, other.dense[0].weight)  # type: ignore[arg-type]


def test_initial_weights_have_the_distribution_of_torch() -> None:
    weight = build_head_network(Head(400, 300), 0).dense[0].weight.detach().numpy()
    assert abs(weight).max() <= 400**-0.5
    assert weight.mean() == pytest.approx(0, abs=4 * weight.std() / np.sqrt(weight.size))
    assert weight.std() == pytest.approx(400**-0.5 / np.sqrt(3), rel=0.01)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_gives_finite_logits(name: str) -> None:
    logits = build_head_network(Head(5, 2, hidden=(4,), activation=name), 0)(torch.randn(3, 5))
    assert logits.shape == (3, 2)
    assert torch.isfinite(logits).all()


def test_dropout_has_the_given_probability_and_keeps_the_expectation() -> None:
    network = build_head_network(Head(5000, 2, dropout=0.3), 0)
    inputs = []
    network.dense[0].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    keys = np.arange(40, dtype=np.uint64)
    network(torch.ones(40, 5000), create_dropout_noise(0, 1, keys))
    assert (inputs[0] == 0).double().mean().item() == pytest.approx(0.3, abs=0.005)
    kept = inputs[0][inputs[0] > 0]
    assert torch.allclose(kept, torch.tensor(1 / 0.7))
    network(torch.ones(40, 5000))
    assert torch.equal(inputs[1], torch.ones(40, 5000))


def test_a_lower_dropout_drops_a_subset() -> None:
    keys = np.arange(8, dtype=np.uint64)
    noise = create_dropout_noise(0, 1, keys)
    assert torch.equal(noise(0, 50), noise(0, 50))
    assert not torch.equal(noise(0, 50), noise(1, 50))
    dropped = [noise(0, 50) < rate for rate in (0.1, 0.5)]
    assert (dropped[1] | ~dropped[0]).all()
