"""A head in training, forward and backward, against the foundations' layers with its weights."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.foundations.helpers import assert_same, draw_normal
from tests.support.heads import (
    HEADS,
    LABELS,
    SAMPLES,
    SameDraws,
    X,
    build_foundations,
    compute_smoothed_loss,
    draw_uniforms,
    list_arrays,
)
from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.foundations import batch_norm, regularization, training
from veduta.networks.heads import HeadNetwork, build_head_network
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch, StepOptions
from veduta.training.step import compute_logits, compute_loss_and_accuracy, train_step


def list_parameters(network: HeadNetwork) -> list[torch.nn.Parameter]:
    """Return the parameters in the order of those of the foundations' layers."""
    parameters: list[torch.nn.Parameter] = []
    for number, linear in enumerate(network.dense):
        parameters += [linear.weight, linear.bias]  # type: ignore[list-item]
        if number < len(network.norms):
            norm = network.norms[number]
            parameters += [norm.weight, norm.bias]  # type: ignore[list-item]
    return parameters


@pytest.mark.parametrize(("l1", "smoothing"), [(0.0, 0.0), (0.02, 0.1)], ids=["plain", "regular"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_step_of_a_head_is_the_foundations_step(head: Head, l1: float, smoothing: float) -> None:
    network = build_head_network(head, seed=0).double()
    network.train()
    layers = build_foundations(network)
    settings = Settings(optimizer="sgd", lr=0.1, momentum=0.0, weight_decay=0.05, l1=l1)
    optimizer = build_optimizer([(1.0, list(network.parameters()))], settings)
    batch = Batch(torch.tensor(X), torch.tensor(LABELS))
    options = StepOptions(label_smoothing=smoothing)
    loss = train_step(network, optimizer, batch, noise=draw_uniforms, options=options).loss

    z = training.forward(layers, X, training=True)
    expected, delta = compute_smoothed_loss(z, smoothing)
    assert_same(expected, loss)
    training.backward(layers, delta)
    weights, gradients = list_arrays(layers, "weights"), list_arrays(layers, "gradients")
    for w, gradient, parameter in zip(weights, gradients, list_parameters(network), strict=True):
        penalty = regularization.l1_gradient(w, lam=2 * l1 if w.ndim == 2 else 0.0, n=1)
        actual = parameter.grad.numpy() if parameter.requires_grad else 0.0  # type: ignore[union-attr]
        assert np.abs(gradient + penalty - actual).max() < 1e-12
        lam = 0.05 if w.ndim == 2 else 0.0
        stepped = regularization.weight_decay_step(w, gradient + penalty, lr=0.1, lam=lam, n=1)
        assert np.abs(stepped - parameter.detach().numpy()).max() < 1e-12


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_evaluation_is_the_foundations_evaluation(head: Head) -> None:
    network = build_head_network(head, seed=0).double()
    network.train()
    layers = build_foundations(network)
    for number in range(3):  # running statistics leave their initial values
        x = draw_normal(number, SAMPLES, 5)
        network(torch.tensor(x), draw_uniforms)
        training.forward(layers, x, training=True)
    expected = compute_logits(network, [torch.tensor(X)])
    assert_same(training.forward(layers, X), expected)
    loss, accuracy = training.evaluate(layers, training.Samples(X, LABELS))
    assert (loss, accuracy) == pytest.approx(
        compute_loss_and_accuracy(expected, torch.tensor(LABELS))
    )


def test_dropout_scales_the_units_that_it_keeps() -> None:
    network = build_head_network(Head(5, 3, dropout=0.4), seed=0).double()
    dropped = network._drop(torch.tensor(X), 0, draw_uniforms)
    rng: Any = SameDraws(0)
    assert_same(regularization.dropout(X, 0.6, rng=rng)[0], dropped)


def test_running_statistics_are_those_of_torch() -> None:
    layer = torch.nn.BatchNorm1d(5).double()
    layer(torch.tensor(X))
    start = batch_norm.Statistics(np.zeros(5), np.ones(5))
    running = batch_norm.update_running_statistics(
        start, batch_norm.batch_statistics(X), count=SAMPLES
    )
    assert_same(running.mean, layer.running_mean)
    assert_same(running.variance, layer.running_var)
    assert layer.eps == batch_norm.EPSILON
