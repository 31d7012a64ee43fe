"""A head in training, forward and backward, against the foundations' layers with its weights.

Where PyTorch's convention is another than the report's: dropout takes the probability of dropping,
1 - p; batch norm's running variance divides by n - 1, its `momentum` is the weight of the new
batch. foundations follows PyTorch in the last two and says so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.foundations.helpers import assert_same, draw_normal
from veduta.config.settings import Settings
from veduta.foundations import activations, batch_norm, regularization, softmax, training
from veduta.foundations.arrays import Array
from veduta.foundations.layers import ActivationLayer, BatchNorm, Dense, Dropout, Layer
from veduta.networks.heads import Head, HeadNetwork, build_head
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch, Technique
from veduta.training.step import logits_of, loss_and_accuracy, train_step

SAMPLES, LABELS = 7, np.array([0, 2, 1, 1, 0, 2, 2])
X = draw_normal(0, SAMPLES, 5)
NAMED = ("relu", "sigmoid", "tanh", "arctan")  # what the report has and heads offer
HEADS = {
    "linear": Head(5, 3),
    "linear with dropout": Head(5, 3, dropout=0.4),
    **{f"hidden, {name}": Head(5, 3, hidden=(6,), activation=name) for name in NAMED},
    "batch norm": Head(5, 3, hidden=(6,), batch_norm=True),
    "batch norm last": Head(5, 3, hidden=(6, 4), batch_norm=True, norm_first=False),
    "dropout behind one layer": Head(5, 3, hidden=(6, 4), dropout=0.4, dropout_layers=1),
    "everything": Head(5, 3, hidden=(6, 4), activation="tanh", batch_norm=True, dropout=0.4),
}


def uniforms(site: int, width: int) -> torch.Tensor:
    """What dropout at a site compares with, in production."""
    return torch.tensor(np.random.default_rng(site).random((SAMPLES, width)))


class SameDraws:
    """The same draws for the foundations: production keeps u >= 1 - p, they keep 1 - u <= p."""

    def __init__(self, site: int) -> None:
        self.site = site

    def random(self, shape: tuple[int, int]) -> Array:
        return 1 - uniforms(self.site, shape[1]).numpy()


def foundations_of(network: HeadNetwork) -> list[Layer]:
    """The same layers, with copies of the same weights."""
    head, layers = network.head, list[Layer]()

    def drop(site: int) -> list[Layer]:
        rng: Any = SameDraws(site)
        return [Dropout(1 - head.dropout, rng=rng)] if head.dropout else []

    layers += drop(0) if not head.hidden else []
    for number, linear in enumerate(network.dense):
        w, b = (p.detach().numpy().copy() for p in (linear.weight, linear.bias))
        dense = Dense(w.shape[1], w.shape[0], rng=np.random.default_rng(0))
        dense.weights = {"w": w, "b": b}  # type: ignore[dict-item]
        layers.append(dense)
        if number < len(head.hidden):
            middle: list[Layer] = [BatchNorm(head.hidden[number])] if head.batch_norm else []
            middle.append(ActivationLayer(getattr(activations, head.activation.upper())))
            layers += middle if head.norm_first else middle[::-1]
            layers += drop(number) if head.drops(number) else []
    return layers


def learned(network: HeadNetwork) -> list[torch.nn.Parameter]:
    """The parameters in the order in which the foundations' layers hold theirs."""
    found: list[torch.nn.Parameter] = []
    for number, linear in enumerate(network.dense):
        found += [linear.weight, linear.bias]  # type: ignore[list-item]
        if number < len(network.norms):
            found += [network.norms[number].weight, network.norms[number].bias]  # type: ignore[list-item]
    return found


def smoothed(z: Array, epsilon: float) -> tuple[float, Array]:
    """Cross entropy with the target (1 - epsilon) [j = i] + epsilon / 3, and its delta at z.

    The cross entropy is linear in the target: a mixture of those with each class as the label.
    """
    shares = [(1 - epsilon, LABELS), *((epsilon / 3, np.full(SAMPLES, k)) for k in range(3))]
    loss = sum(s * softmax.negative_log_likelihood(z, i).mean() for s, i in shares)
    delta = sum(s * softmax.negative_log_likelihood_delta(z, i) / SAMPLES for s, i in shares)
    return loss, delta


def flat(layers: Sequence[Layer], what: str) -> list[Array]:
    return [array for layer in layers for array in getattr(layer, what).values()]


@pytest.mark.parametrize(("l1", "smoothing"), [(0.0, 0.0), (0.02, 0.1)], ids=["plain", "regular"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_step_of_a_head_is_the_foundations_step(head: Head, l1: float, smoothing: float) -> None:
    network = build_head(head, seed=0).double()
    network.train()
    layers = foundations_of(network)
    settings = Settings(optimizer="sgd", lr=0.1, momentum=0.0, weight_decay=0.05, l1=l1)
    optimizer = build_optimizer([(1.0, list(network.parameters()))], settings)
    batch = Batch(torch.tensor(X), torch.tensor(LABELS))
    technique = Technique(label_smoothing=smoothing)
    loss = train_step(network, optimizer, batch, noise=uniforms, technique=technique).loss

    z = training.forward(layers, X, training=True)
    expected, delta = smoothed(z, smoothing)
    assert_same(expected, loss)
    training.backward(layers, delta)
    weights, gradients = flat(layers, "weights"), flat(layers, "gradients")
    for w, gradient, parameter in zip(weights, gradients, learned(network), strict=True):
        # relative to the step's size: a bias before batch norm has no gradient but rounding
        penalty = regularization.l1_gradient(w, lam=2 * l1 if w.ndim == 2 else 0.0, n=1)
        found = parameter.grad.numpy() if parameter.requires_grad else 0.0  # type: ignore[union-attr]
        assert np.abs(gradient + penalty - found).max() < 1e-12  # it has joined the gradient
        lam = 0.05 if w.ndim == 2 else 0.0
        stepped = regularization.weight_decay_step(w, gradient + penalty, lr=0.1, lam=lam, n=1)
        assert np.abs(stepped - parameter.detach().numpy()).max() < 1e-12


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_evaluation_is_the_foundations_evaluation(head: Head) -> None:
    network = build_head(head, seed=0).double()
    network.train()
    layers = foundations_of(network)
    for number in range(3):  # running statistics get somewhere
        x = draw_normal(number, SAMPLES, 5)
        network(torch.tensor(x), uniforms)
        training.forward(layers, x, training=True)
    expected = logits_of(network, [torch.tensor(X)])
    assert_same(training.forward(layers, X), expected)
    loss, accuracy = training.evaluate(layers, training.Samples(X, LABELS))
    assert (loss, accuracy) == pytest.approx(loss_and_accuracy(expected, torch.tensor(LABELS)))


def test_dropout_scales_what_it_keeps() -> None:
    network = build_head(Head(5, 3, dropout=0.4), seed=0).double()
    kept = network._drop(torch.tensor(X), 0, uniforms)
    rng: Any = SameDraws(0)
    assert_same(regularization.dropout(X, 0.6, rng=rng)[0], kept)


def test_batch_norm_counts_as_torch_does() -> None:
    layer = torch.nn.BatchNorm1d(5).double()
    layer(torch.tensor(X))
    start = batch_norm.Statistics(np.zeros(5), np.ones(5))
    running = batch_norm.update_running_statistics(
        start, batch_norm.batch_statistics(X), count=SAMPLES
    )
    assert_same(running.mean, layer.running_mean)
    assert_same(running.variance, layer.running_var)
    assert layer.eps == batch_norm.EPSILON
