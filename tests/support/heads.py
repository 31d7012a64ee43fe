"""Heads, and the same layers built from the foundations with the same weights.

Where PyTorch's convention differs from the report's: dropout takes the probability of dropping,
1 - p; the running variance of batch normalization divides by n - 1, and its `momentum` is the
weight of the new batch. The foundations follow PyTorch in the last two and say so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tests.foundations.helpers import draw_normal
from veduta.config.network_specs import Head
from veduta.foundations import activations, losses
from veduta.foundations.arrays import Array
from veduta.foundations.layers import ActivationLayer, BatchNorm, Dense, Dropout, Layer
from veduta.networks.heads import HeadNetwork

SAMPLES, LABELS = 7, np.array([0, 2, 1, 1, 0, 2, 2])
X = draw_normal(0, SAMPLES, 5)
SHARED_ACTIVATIONS = ("relu", "sigmoid", "tanh", "arctan")  # of the report and of heads
HEADS = {
    "linear": Head(5, 3),
    "linear with dropout": Head(5, 3, dropout=0.4),
    **{f"hidden, {name}": Head(5, 3, hidden=(6,), activation=name) for name in SHARED_ACTIVATIONS},
    "batch norm": Head(5, 3, hidden=(6,), batch_norm=True),
    "activation first": Head(5, 3, hidden=(6, 4), batch_norm=True, norm_first=False),
    "dropout after one layer": Head(5, 3, hidden=(6, 4), dropout=0.4, dropout_layers=1),
    "everything": Head(5, 3, hidden=(6, 4), activation="tanh", batch_norm=True, dropout=0.4),
}


def draw_uniforms(site: int, width: int) -> torch.Tensor:
    """Return the random numbers of dropout at a site, as training draws them."""
    return torch.tensor(np.random.default_rng(site).random((SAMPLES, width)))


class SameDraws:
    """The same numbers for the foundations: training keeps u >= 1 - p, they keep 1 - u <= p."""

    def __init__(self, site: int) -> None:
        self.site = site

    def random(self, shape: tuple[int, int]) -> Array:
        return 1 - draw_uniforms(self.site, shape[1]).numpy()


def build_foundations(network: HeadNetwork) -> list[Layer]:
    """Return the layers of the foundations with copies of the weights of a network."""
    head, layers = network.head, list[Layer]()

    def drop(site: int) -> list[Layer]:
        rng: Any = SameDraws(site)
        return [Dropout(1 - head.dropout, rng=rng)] if head.dropout else []

    layers += drop(0) if not head.hidden else []
    for number, linear in enumerate(network.dense):
        w, b = (p.detach().numpy().copy() for p in linear.parameters())
        dense = Dense(w.shape[1], w.shape[0], rng=np.random.default_rng(0))
        dense.weights = {"w": w, "b": b}
        layers.append(dense)
        if number < len(head.hidden):
            middle: list[Layer] = [BatchNorm(head.hidden[number])] if head.batch_norm else []
            middle.append(ActivationLayer(getattr(activations, head.activation.upper())))
            layers += middle if head.norm_first else middle[::-1]
            layers += drop(number) if head.has_dropout(number) else []
    return layers


def compute_smoothed_loss(z: Array, epsilon: float) -> tuple[float, Array]:
    """Return the cross entropy for the target (1 - epsilon) [j = i] + epsilon / 3, and its delta.

    The cross entropy is linear in the target, so it is a mixture of those with one class as label.
    """
    targets = [(1 - epsilon, LABELS), *((epsilon / 3, np.full(SAMPLES, k)) for k in range(3))]
    loss, delta = 0.0, np.zeros_like(z)
    for weight, labels in targets:
        loss += weight * losses.negative_log_likelihood(z, labels).mean()
        delta += weight * losses.negative_log_likelihood_delta(z, labels) / SAMPLES
    return loss, delta


def list_arrays(layers: Sequence[Layer], attribute: str) -> list[Array]:
    """Return all `weights` or all `gradients` of some layers."""
    return [array for layer in layers for array in getattr(layer, attribute).values()]
