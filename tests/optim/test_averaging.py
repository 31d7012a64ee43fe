"""The moving average against its recursion, worked out by hand and by NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from veduta.optim.averaging import Average, decay_at


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)).double()


def test_three_updates_by_hand() -> None:
    weight = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(weight.weight, 1.0)
    average = Average(weight, 0.2)
    found = []
    for value in (3.0, 5.0, 7.0):
        nn.init.constant_(weight.weight, value)
        average.update()
        found.append(average.network.weight.item())
    first = 2 / 11 * 1 + 9 / 11 * 3  # the warm-up's decay is the smaller
    second = 0.2 * first + 0.8 * 5
    assert found == pytest.approx([first, second, 0.2 * second + 0.8 * 7], abs=1e-14)
    assert average.steps == 3


def test_it_is_the_recursion_in_float64() -> None:
    net = network()
    average = Average(net, 0.97)
    expected = [p.detach().numpy().copy() for p in net.parameters()]
    for step in range(1, 40):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn(parameter.shape, dtype=torch.float64))
        average.update()
        decay = min(0.97, (1 + step) / (10 + step))
        now = [p.detach().numpy() for p in net.parameters()]
        expected = [decay * e + (1 - decay) * n for e, n in zip(expected, now, strict=True)]
        for mean, parameter in zip(expected, average.network.parameters(), strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), mean, rtol=1e-12, atol=1e-13)


def test_statistics_of_batch_norm_are_those_of_the_network() -> None:
    net = network()
    average = Average(net, 0.9)
    net.train()(torch.randn(8, 2, dtype=torch.float64))
    average.update()
    found = dict(average.network.named_buffers())
    assert all(torch.equal(buffer, found[name]) for name, buffer in net.named_buffers())
    assert not torch.equal(found["1.running_mean"], torch.zeros(3).double())


def test_it_neither_trains_nor_changes_what_does() -> None:
    net = network()
    average = Average(net, 0.9)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    average.update()
    assert net.training
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    theirs = {p.data_ptr() for p in average.network.parameters()}
    assert not theirs & {p.data_ptr() for p in net.parameters()}


def test_loaded_it_goes_on_as_if_it_had_never_stopped() -> None:
    net = network()
    one = Average(net, 0.99)
    for _ in range(3):
        nn.init.normal_(net[0].weight)
        one.update()
    state, steps = {k: v.clone() for k, v in one.state().items()}, one.steps
    other = Average(net, 0.99)
    other.load(state, steps)
    nn.init.normal_(net[0].weight)
    one.update()
    other.update()
    for mine, theirs in zip(one.state().values(), other.state().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_warm_up_rises_to_the_decay() -> None:
    decays = [decay_at(step, 0.999) for step in range(1, 20_000)]
    assert decays == sorted(decays)
    assert decays[-1] == 0.999
    assert decay_at(5, 0.0) == 0.0
