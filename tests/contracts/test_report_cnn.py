"""The report's network in training, forward and one step, against the foundations' layers.

The foundations convolve, torch correlates: a kernel here is theirs rotated by 180 degrees.
"""

import itertools

import numpy as np
import pytest
import torch

from tests.foundations.helpers import draw_normal
from veduta.config.settings import Settings
from veduta.foundations import activations, conv_backprop, pooling, training
from veduta.foundations.arrays import Array
from veduta.foundations.convolution import convolve, rot180
from veduta.foundations.layers import ActivationLayer, BatchNorm, Dense, Flatten, Layer, Pooling
from veduta.foundations.softmax import negative_log_likelihood, negative_log_likelihood_delta
from veduta.networks.backbones import build_backbone
from veduta.networks.catalogue.builtin import L2Pool, ReportBlock
from veduta.networks.catalogue.model import IMAGENET_MEAN, IMAGENET_STD
from veduta.networks.catalogue.registry import model_of
from veduta.networks.freezing import Tail, TailNetwork
from veduta.networks.heads import build_head, head_of
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch
from veduta.training.step import train_step

SIZE, LABELS, CLASSES, RATE = 27, np.array([0, 2, 1, 1, 0]), 3, 0.1  # 27 -> 23 -> 7 -> 3 -> 1
PIXELS = np.random.default_rng(3).integers(0, 256, (len(LABELS), SIZE, SIZE, 3)).astype(np.uint8)
MEAN, STD = (  # as the network holds them
    np.array(values, np.float32).astype(float) for values in (IMAGENET_MEAN, IMAGENET_STD)
)
KINDS = list(itertools.product((False, True), ("max", "average", "l2"), (True, False)))


class Convolved(Layer):
    """(30) with a bias of either kind, (34)-(36) for the way back."""

    def __init__(self, w: Array, b: Array) -> None:
        super().__init__(w=w, b=b)

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        self.a = a
        return convolve(a, self.weights["w"], b=self.weights["b"])

    def backward(self, delta: Array) -> Array:
        untied = self.weights["b"].ndim == 3
        gradient = conv_backprop.bias_gradient if untied else conv_backprop.tied_bias_gradient
        self.gradients["w"] = conv_backprop.kernel_gradient(delta, self.a, k=5)
        self.gradients["b"] = gradient(delta)
        return conv_backprop.hidden_error(delta, self.weights["w"], slope=np.ones_like(self.a))


def of(parameter: torch.Tensor) -> Array:
    return parameter.detach().numpy().copy()


def built(untied: bool, pool: str, norm_first: bool) -> TailNetwork:
    """A small instance, every number of it away from its initial value."""
    settings = Settings(
        model="report_cnn", channels="3x2", image_size=SIZE, untied_bias=untied, pooling=pool,
        norm_first=norm_first, batch_norm=True, activation="tanh", freeze="none",
    )  # fmt: skip
    backbone = build_backbone(model_of(settings), "none", cache=None)  # type: ignore[arg-type]
    tail = Tail(backbone.model, backbone.network, 0)
    network = TailNetwork(build_head(head_of(settings, tail.features, CLASSES), 0), tail).double()
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.add_(0.3 * torch.tensor(draw_normal(number, *parameter.shape)))
    return network.train()


def foundations_of(network: TailNetwork, pool: str, norm_first: bool) -> list[Layer]:
    layers: list[Layer] = []
    for block in network.tail.network.children():
        if isinstance(block, ReportBlock):
            convolution, norm = (block.get_submodule(name) for name in ("convolution", "norm"))
            w, b = (of(p) for p in (convolution.weight, convolution.bias))  # type: ignore[arg-type]
            layers.append(Convolved(rot180(w), b))
            normalised = BatchNorm(len(w))
            normalised.weights = {"gamma": of(norm.weight), "beta": of(norm.bias)}  # type: ignore[arg-type]
            middle: list[Layer] = [normalised, ActivationLayer(activations.TANH)]
            layers += [*(middle if norm_first else middle[::-1]), Pooling(pool, 3)]
    dense = Dense(2, CLASSES, rng=np.random.default_rng(0))
    dense.weights = {"w": of(network.dense[0].weight), "b": of(network.dense[0].bias)}  # type: ignore[arg-type]
    return [*layers, Flatten(), dense]


@pytest.mark.parametrize(("untied", "pool", "norm_first"), KINDS, ids=str)
def test_a_step_of_it_is_the_foundations_step(untied: bool, pool: str, norm_first: bool) -> None:
    network = built(untied, pool, norm_first)
    layers = foundations_of(network, pool, norm_first)
    optimizer = build_optimizer(
        network.groups(1.0), Settings(optimizer="sgd", lr=RATE, momentum=0.0)
    )
    batch = Batch(torch.tensor(PIXELS), torch.tensor(LABELS))
    loss = train_step(network, optimizer, batch, noise=None).loss

    x = ((PIXELS / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    z = training.forward(layers, x, training=True)
    assert loss == pytest.approx(negative_log_likelihood(z, LABELS).mean(), abs=1e-12)
    training.backward(layers, negative_log_likelihood_delta(z, LABELS) / len(LABELS))
    after = foundations_of(network, pool, norm_first)
    moved = 0
    for layer, stepped in zip(layers, after, strict=True):
        for name, w in layer.weights.items():
            expected = w - RATE * layer.gradients[name]
            assert np.abs(expected - stepped.weights[name]).max() < 1e-12, (type(layer), name)
            moved += bool(np.abs(w - stepped.weights[name]).max() > 1e-9)
    idle = 2 * (norm_first and not untied)  # biases that batch norm takes out again
    assert moved == sum(len(layer.weights) for layer in layers) - idle


def test_l2_pooling_is_that_of_the_foundations_regions_of_zeros_included() -> None:
    z = draw_normal(0, 2, 3, 7, 8)  # the last row and two columns fill no region
    z[0, 0, :3, :3] = 0
    delta = draw_normal(1, 2, 3, 2, 2)
    given = torch.tensor(z, requires_grad=True)
    pooled = L2Pool(3)(given)
    pooled.backward(torch.tensor(delta))
    assert given.grad is not None
    assert np.abs(pooling.l2_pool(z, 3) - pooled.detach().numpy()).max() < 1e-12
    expected = pooling.l2_pool_backward(delta, z, p=3)
    assert np.abs(expected - given.grad.numpy()).max() < 1e-12
    assert not given.grad[0, 0, :3, :3].any()
