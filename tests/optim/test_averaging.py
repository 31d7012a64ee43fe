"""The moving average of weights against its recursion, by hand and in NumPy."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from veduta.optim.optimizers import compute_decay, create_weight_average


def make_network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)).double()


def test_three_updates_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(layer.weight, 1.0)
    average = create_weight_average(layer, 0.2)
    averages = []
    for value in (3.0, 5.0, 7.0):
        nn.init.constant_(layer.weight, value)
        average.update_parameters(layer)
        averages.append(average.module.weight.item())
    first = 2 / 11 * 1 + 9 / 11 * 3  # the decay of the warm-up, 2/11, is below 0.2
    second = 0.2 * first + 0.8 * 5
    assert averages == pytest.approx([first, second, 0.2 * second + 0.8 * 7], abs=1e-14)


def test_updates_equal_the_recursion_in_numpy() -> None:
    network = make_network()
    average = create_weight_average(network, 0.97)
    expected = [p.detach().numpy().copy() for p in network.parameters()]
    for step in range(1, 40):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, dtype=torch.float64))
        average.update_parameters(network)
        decay = min(0.97, (1 + step) / (10 + step))
        weights = [p.detach().numpy() for p in network.parameters()]
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights, strict=True)]
        for mean, parameter in zip(expected, average.module.parameters(), strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), mean, rtol=1e-12, atol=1e-13)


def test_statistics_of_batch_norm_are_copied() -> None:
    network = make_network()
    average = create_weight_average(network, 0.9)
    network.train()(torch.randn(8, 2, dtype=torch.float64))
    average.update_parameters(network)
    copied = dict(average.module.named_buffers())
    assert all(torch.equal(buffer, copied[name]) for name, buffer in network.named_buffers())
    assert not torch.equal(copied["1.running_mean"], torch.zeros(3).double())


def test_average_is_in_evaluation_mode_without_gradients() -> None:
    average = create_weight_average(make_network(), 0.9)
    assert not average.module.training
    assert not any(p.requires_grad for p in average.module.parameters())


def test_network_is_not_changed() -> None:
    network = make_network()
    before = copy.deepcopy(network.state_dict())
    average = create_weight_average(network, 0.9)
    average.update_parameters(network)
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    averaged_memory = {p.data_ptr() for p in average.module.parameters()}
    assert not averaged_memory & {p.data_ptr() for p in network.parameters()}


def test_restored_average_continues_identically() -> None:
    network = make_network()
    average = create_weight_average(network, 0.99)
    for _ in range(3):
        nn.init.normal_(network[0].weight)  # type: ignore[arg-type]
        average.update_parameters(network)
    restored = create_weight_average(network, 0.99)
    restored.load_state_dict(copy.deepcopy(average.state_dict()))
    nn.init.normal_(network[0].weight)  # type: ignore[arg-type]
    average.update_parameters(network)
    restored.update_parameters(network)
    for name, tensor in average.state_dict().items():
        assert torch.equal(restored.state_dict()[name], tensor)


def test_decay_increases_to_its_limit() -> None:
    decays = [compute_decay(step, 0.999) for step in range(1, 20_000)]
    assert decays == sorted(decays)
    assert decays[-1] == 0.999
    assert compute_decay(5, 0.0) == 0.0
