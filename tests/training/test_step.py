"""One step: the length of the gradient, clipping, precision, and what is refused."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from veduta.config.settings import Settings
from veduta.networks.heads import Head, HeadNetwork, build_head
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch, Technique
from veduta.training.step import NotFiniteError, Step, train_step

SGD = Settings(optimizer="sgd", momentum=0.0, lr=0.1)


def batch(dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(8, 5, generator=generator, dtype=torch.float64).to(dtype)
    return Batch(features, torch.tensor([0, 1, 2, 0, 1, 2, 0, 0]))


def made(network: HeadNetwork, given: Batch, technique: Technique, settings: Settings) -> Step:
    optimizer = build_optimizer([(1.0, list(network.parameters()))], settings)
    return train_step(network, optimizer, given, noise=None, technique=technique)


def gradient_of(network: HeadNetwork, given: Batch) -> np.ndarray:
    found = copy.deepcopy(network)
    cross_entropy(found(given.features), given.labels).backward()
    return np.concatenate([p.grad.numpy().ravel() for p in found.parameters()])


@pytest.mark.parametrize("clip", [None, 1e6, 0.05])
@pytest.mark.parametrize("l1", [0.0, 0.3])
def test_a_long_gradient_is_shortened_and_keeps_its_direction(
    clip: float | None, l1: float
) -> None:
    network = build_head(Head(5, 3, hidden=(4,)), 0).double().train()
    start = [p.detach().numpy().copy() for p in network.parameters()]
    gradient = gradient_of(network, batch())
    settings = SGD.model_copy(update={"l1": l1})
    step = made(network, batch(), Technique(clip=clip), settings)
    length = np.sqrt((gradient**2).sum())
    assert step.gradient_norm == pytest.approx(length, rel=1e-12)  # before clipping
    factor = 1.0 if clip is None else min(1.0, clip / (length + 1e-6))
    moved = np.concatenate(
        [(p.detach().numpy() - w).ravel() for p, w in zip(network.parameters(), start, strict=True)]
    )
    penalty = np.concatenate([l1 * np.sign(w).ravel() * (w.ndim > 1) for w in start])
    assert moved == pytest.approx(-0.1 * (factor * gradient + penalty), abs=1e-13)


def test_the_loss_is_that_before_the_step() -> None:
    network = build_head(Head(5, 3), 0).double().train()
    expected = cross_entropy(network(batch().features), batch().labels).item()
    assert made(network, batch(), Technique(), SGD).loss == expected


def test_what_does_not_train_has_no_share_in_the_length() -> None:
    network = build_head(Head(5, 3, hidden=(4,)), 0).double().train()
    network.dense[0].requires_grad_(False)
    step = made(network, batch(), Technique(), SGD)
    kept = [p.grad for p in network.dense[1].parameters() if p.grad is not None]
    expected = np.sqrt(sum(float((g**2).sum()) for g in kept))
    assert step.gradient_norm == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_nothing_that_is_not_finite_makes_a_step(what: str) -> None:
    network = build_head(Head(5, 3), 0).double().train()
    given = batch()
    if what == "loss":
        given.features[2, 1] = float("inf")
    else:
        network.dense[0].weight.register_hook(lambda gradient: gradient * float("nan"))
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(NotFiniteError, match=f"the {what} must stay finite.*learning rate"):
        made(network, given, Technique(), SGD)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_bf16_computes_products_and_nothing_else_in_bf16() -> None:
    plain = build_head(Head(5, 3, hidden=(4,)), 0).train()
    network = copy.deepcopy(plain)
    exact = made(plain, batch(torch.float32), Technique(), SGD)
    seen = []
    network.dense[0].register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    step = made(network, batch(torch.float32), Technique(autocast=torch.bfloat16), SGD)
    assert seen == [torch.bfloat16]
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert 0 < abs(step.loss - exact.loss) < 0.02
    assert step.gradient_norm == pytest.approx(exact.gradient_norm, rel=0.05)
