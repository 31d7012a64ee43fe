"""The network of the report in training, one step, against the layers of the foundations.

The foundations convolve and torch correlates: kernels of torch are rotated by 180 degrees.
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
from veduta.foundations.losses import negative_log_likelihood, negative_log_likelihood_delta
from veduta.networks.backbones import build_backbone
from veduta.networks.catalogue.builtin import L2Pool, ReportBlock
from veduta.networks.catalogue.model import IMAGENET_MEAN, IMAGENET_STD
from veduta.networks.catalogue.registry import resolve_model
from veduta.networks.freezing import Tail, TailNetwork
from veduta.networks.heads import build_head_network, describe_head
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch
from veduta.training.step import train_step

SIZE, LABELS, CLASSES, RATE = 27, np.array([0, 2, 1, 1, 0]), 3, 0.1  # 27 -> 23 -> 7 -> 3 -> 1
PIXELS = np.random.default_rng(3).integers(0, 256, (len(LABELS), SIZE, SIZE, 3)).astype(np.uint8)
MEAN, STD = (  # float32, as in the network
    np.array(values, np.float32).astype(float) for values in (IMAGENET_MEAN, IMAGENET_STD)
)
KINDS = list(itertools.product((False, True), ("max", "average", "l2"), (True, False)))


class Convolution(Layer):
    """Equation (30) with a tied or untied bias, and (34)-(36) for the backward pass."""

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


def copy_array(parameter: torch.Tensor | torch.nn.Module) -> Array:
    assert isinstance(parameter, torch.Tensor)
    return parameter.detach().numpy().copy()


def build_network(untied: bool, pool: str, norm_first: bool) -> TailNetwork:
    """Return a small network whose parameters all differ from their initial values."""
    settings = Settings(
        model="report_cnn", channels="3x2", image_size=SIZE, untied_bias=untied, pooling=pool,
        norm_first=norm_first, batch_norm=True, activation="tanh", freeze="none",
    )  # fmt: skip
    backbone = build_backbone(resolve_model(settings), "none", cache=None)  # type: ignore[arg-type]
    tail = Tail(backbone.model, backbone.network, 0)
    network = TailNetwork(
        build_head_network(describe_head(settings, tail.features, CLASSES), 0), tail
    ).double()
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.add_(0.3 * torch.tensor(draw_normal(number, *parameter.shape)))
    return network.train()


def build_foundations(network: TailNetwork, pool: str, norm_first: bool) -> list[Layer]:
    """Return the layers of the foundations with copies of the weights of a network."""
    layers: list[Layer] = []
    for block in network.tail.network.children():
        if isinstance(block, ReportBlock):
            convolution, norm = (block.get_submodule(name) for name in ("convolution", "norm"))
            w, b = (copy_array(p) for p in (convolution.weight, convolution.bias))
            layers.append(Convolution(rot180(w), b))
            normalization = BatchNorm(len(w))
            normalization.weights = {
                "gamma": copy_array(norm.weight),
                "beta": copy_array(norm.bias),
            }
            middle: list[Layer] = [normalization, ActivationLayer(activations.TANH)]
            layers += [*(middle if norm_first else middle[::-1]), Pooling(pool, 3)]
    dense = Dense(2, CLASSES, rng=np.random.default_rng(0))
    dense.weights = {
        "w": copy_array(network.dense[0].weight),
        "b": copy_array(network.dense[0].bias),
    }
    return [*layers, Flatten(), dense]


@pytest.mark.parametrize(("untied", "pool", "norm_first"), KINDS, ids=str)
def test_a_step_equals_the_step_of_the_foundations(
    untied: bool, pool: str, norm_first: bool
) -> None:
    network = build_network(untied, pool, norm_first)
    layers = build_foundations(network, pool, norm_first)
    optimizer = build_optimizer(
        network.group_parameters(1.0), Settings(optimizer="sgd", lr=RATE, momentum=0.0)
    )
    batch = Batch(torch.tensor(PIXELS), torch.tensor(LABELS))
    loss = train_step(network, optimizer, batch, noise=None).loss

    x = ((PIXELS / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    z = training.forward(layers, x, training=True)
    assert loss == pytest.approx(negative_log_likelihood(z, LABELS).mean(), abs=1e-12)
    training.backward(layers, negative_log_likelihood_delta(z, LABELS) / len(LABELS))
    after = build_foundations(network, pool, norm_first)
    moved = 0
    for layer, stepped in zip(layers, after, strict=True):
        for name, w in layer.weights.items():
            expected = w - RATE * layer.gradients[name]
            assert np.abs(expected - stepped.weights[name]).max() < 1e-12, (type(layer), name)
            moved += bool(np.abs(w - stepped.weights[name]).max() > 1e-9)
    constant = 2 * (norm_first and not untied)  # biases that batch normalization cancels
    assert moved == sum(len(layer.weights) for layer in layers) - constant


def test_l2_pooling_equals_that_of_the_foundations_also_on_zeros() -> None:
    z = draw_normal(0, 2, 3, 7, 8)  # the last row and two columns are in no region
    z[0, 0, :3, :3] = 0
    delta = draw_normal(1, 2, 3, 2, 2)
    x = torch.tensor(z, requires_grad=True)
    pooled = L2Pool(3)(x)
    pooled.backward(torch.tensor(delta))
    assert x.grad is not None
    assert np.abs(pooling.l2_pool(z, 3) - pooled.detach().numpy()).max() < 1e-12
    expected = pooling.l2_pool_backward(delta, z, p=3)
    assert np.abs(expected - x.grad.numpy()).max() < 1e-12
    assert not x.grad[0, 0, :3, :3].any()
