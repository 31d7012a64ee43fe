"""One training step: gradient norm, clipping, autocast, and non-finite values."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.networks.heads import HeadNetwork, build_head_network
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch, StepOptions
from veduta.training.step import NotFiniteError, Step, train_step

SGD = Settings(optimizer="sgd", momentum=0.0, lr=0.1)


def create_batch(dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(8, 5, generator=generator, dtype=torch.float64).to(dtype)
    return Batch(features, torch.tensor([0, 1, 2, 0, 1, 2, 0, 0]))


def run_step(network: HeadNetwork, batch: Batch, options: StepOptions, settings: Settings) -> Step:
    optimizer = build_optimizer([(1.0, list(network.parameters()))], settings)
    return train_step(network, optimizer, batch, noise=None, options=options)


def compute_gradient(network: HeadNetwork, batch: Batch) -> np.ndarray:
    copied = copy.deepcopy(network)
    cross_entropy(copied(batch.features), batch.labels).backward()
    gradients = [p.grad for p in copied.parameters() if p.grad is not None]
    return np.concatenate([gradient.numpy().ravel() for gradient in gradients])


@pytest.mark.parametrize("clip", [None, 1e6, 0.05])
@pytest.mark.parametrize("l1", [0.0, 0.3])
def test_a_large_gradient_is_scaled_down_to_the_maximum_norm(clip: float | None, l1: float) -> None:
    network = build_head_network(Head(5, 3, hidden=(4,)), 0).double().train()
    start = [p.detach().numpy().copy() for p in network.parameters()]
    gradient = compute_gradient(network, create_batch())
    settings = SGD.model_copy(update={"l1": l1})
    step = run_step(network, create_batch(), StepOptions(clip=clip), settings)
    norm = np.sqrt((gradient**2).sum())
    assert step.gradient_norm == pytest.approx(norm, rel=1e-12)  # before clipping
    factor = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
    change = np.concatenate(
        [(p.detach().numpy() - w).ravel() for p, w in zip(network.parameters(), start, strict=True)]
    )
    penalty = np.concatenate([l1 * np.sign(w).ravel() * (w.ndim > 1) for w in start])
    assert change == pytest.approx(-0.1 * (factor * gradient + penalty), abs=1e-13)


def test_the_loss_is_that_before_the_update() -> None:
    network = build_head_network(Head(5, 3), 0).double().train()
    expected = cross_entropy(network(create_batch().features), create_batch().labels).item()
    assert run_step(network, create_batch(), StepOptions(), SGD).loss == expected


def test_untrained_parameters_do_not_contribute_to_the_gradient_norm() -> None:
    network = build_head_network(Head(5, 3, hidden=(4,)), 0).double().train()
    network.dense[0].requires_grad_(False)
    step = run_step(network, create_batch(), StepOptions(), SGD)
    gradients = [p.grad for p in network.dense[1].parameters() if p.grad is not None]
    expected = np.sqrt(sum(float((g**2).sum()) for g in gradients))
    assert step.gradient_norm == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_non_finite_loss_or_gradient_changes_no_weight(what: str) -> None:
    network = build_head_network(Head(5, 3), 0).double().train()
    batch = create_batch()
    if what == "loss":
        batch.features[2, 1] = float("inf")
    else:
        network.dense[0].weight.register_hook(lambda gradient: gradient * float("nan"))
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(NotFiniteError, match=f"the {what}.*must be finite.*learning rate"):
        run_step(network, batch, StepOptions(), SGD)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_autocast_computes_only_matrix_products_in_bf16() -> None:
    plain = build_head_network(Head(5, 3, hidden=(4,)), 0).train()
    network = copy.deepcopy(plain)
    exact = run_step(plain, create_batch(torch.float32), StepOptions(), SGD)
    dtypes = []
    network.dense[0].register_forward_hook(lambda _, __, out: dtypes.append(out.dtype))
    step = run_step(network, create_batch(torch.float32), StepOptions(autocast=torch.bfloat16), SGD)
    assert dtypes == [torch.bfloat16]
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert 0 < abs(step.loss - exact.loss) < 0.02
    assert step.gradient_norm == pytest.approx(exact.gradient_norm, rel=0.05)
