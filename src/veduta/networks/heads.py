"""Heads: what stands between a backbone's features and the classes.

A head is a description first (widths, norm, activation, dropout and where), so that whatever
trains it, alone or many at once, builds from the same words; the network is built from it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from veduta.config.settings import Settings
from veduta.runtime.streams import stream, tensor

Noise = Callable[[int, int], Tensor]
"""(site, width) -> numbers in [0, 1), shape (B, width): what dropout at that site compares with."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "arctan": torch.arctan,
    "elu": nn.functional.elu,
    "gelu": nn.functional.gelu,
    "leaky_relu": nn.functional.leaky_relu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True, slots=True)
class Head:
    """A stack of dense layers.

    Each hidden layer is linear -> batch norm -> activation -> dropout, or with `norm_first` false
    linear -> activation -> batch norm -> dropout; the last is linear. `dropout_layers` leading
    hidden layers drop, all where it is None. Without hidden layers, dropout acts on the features.

    >>> Head(features=25088, classes=6, hidden=(2000,), batch_norm=True, dropout=0.4).parameters
    50194006
    """

    features: int
    classes: int
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    batch_norm: bool = False
    dropout: float = 0.0
    norm_first: bool = True
    dropout_layers: int | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths from the features to the classes, both included."""
        return (self.features, *self.hidden, self.classes)

    @property
    def parameters(self) -> int:
        """How many numbers it has, running statistics apart."""
        dense = sum((a + 1) * b for a, b in zip(self.widths, self.widths[1:], strict=False))
        return dense + (2 * sum(self.hidden) if self.batch_norm else 0)

    def drops(self, site: int) -> bool:
        """Whether dropout acts behind hidden layer `site`, or on the features of a linear head."""
        return self.dropout_layers is None or not self.hidden or site < self.dropout_layers

    def as_dict(self) -> dict[str, Any]:
        """The description as plain values."""
        return asdict(self)


ONLY_HIDDEN = frozenset({"activation", "batch_norm", "norm_first", "dropout_layers"})
"""Settings that mean nothing to a head without hidden layers."""


def head_of(settings: Settings, features: int, classes: int) -> Head:
    """The head that `settings` describe."""
    return Head(
        features,
        classes,
        hidden=settings.hidden,
        activation=settings.activation,
        batch_norm=settings.batch_norm,
        dropout=settings.dropout,
        norm_first=settings.norm_first,
        dropout_layers=settings.dropout_layers,
    )


class HeadNetwork(nn.Module):
    """The network of a head. Maps features (B, features) to logits (B, classes).

    A bias before batch norm keeps its initial value: batch norm takes it out again, so its gradient
    is zero, but for rounding, which an adaptive optimiser would divide by its own size and make
    steps of, and the running mean would follow late.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.dense = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(head.widths, head.widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(w) for w in head.hidden if head.batch_norm)
        for layer in self.dense[: len(self.norms) if head.norm_first else 0]:
            layer.bias.requires_grad_(False)
        self.activation = ACTIVATIONS[head.activation]

    @property
    def trained(self) -> int:
        """How many numbers it trains."""
        return self.head.parameters

    def open(self, opened: bool = True) -> None:
        """Let what stands before the head train, or rest; here there is nothing."""

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Logits; with `noise`, as in training, units are dropped and the kept ones rescaled.

        Dropout (report, section 4.3) multiplies by 1 / (1 - dropout) what it keeps, so that the
        expectation of a unit is the same in training and in evaluation.
        """
        if not self.head.hidden:
            x = self._drop(x, 0, noise)
        for number, layer in enumerate(self.dense[:-1]):
            x = layer(x)
            for part in self._behind(number):
                x = part(x)
            x = self._drop(x, number, noise)
        logits: Tensor = self.dense[-1](x)
        return logits

    def groups(self, scale: float) -> list[tuple[float, list[nn.Parameter]]]:  # noqa: ARG002
        """Parameters by their share of the learning rate; `scale` is for what stands before."""
        return [(1.0, list(self.parameters()))]

    def _behind(self, number: int) -> list[Callable[[Tensor], Tensor]]:
        """What stands behind a hidden layer, dropout apart, in order."""
        if not self.head.batch_norm:
            return [self.activation]
        parts: list[Callable[[Tensor], Tensor]] = [self.norms[number], self.activation]
        return parts if self.head.norm_first else parts[::-1]

    def _drop(self, x: Tensor, site: int, noise: Noise | None) -> Tensor:
        rate = self.head.dropout
        if noise is None or rate == 0 or not self.head.drops(site):
            return x
        return x * (noise(site, x.shape[1]) >= rate) / (1 - rate)


def build_head(head: Head, seed: int) -> HeadNetwork:
    """The network of `head` with its initial weights, a pure function of (seed, layer, shape).

    Weights and biases are uniform in +-1/sqrt(inputs), torch's own rule for dense layers, drawn
    from a stream of ours so that a trial starts the same whatever was built before it.
    """
    network = HeadNetwork(head)
    with torch.no_grad():
        for number, layer in enumerate(network.dense):
            bound = head.widths[number] ** -0.5
            for name, parameter in layer.named_parameters():
                shape = tuple(parameter.shape)
                key = stream(seed, "initial weights", number, name, *shape)
                drawn = tensor(key, shape)  # in float64, so nothing is copied on the way
                drawn *= 2
                drawn -= 1
                drawn *= bound
                parameter.copy_(torch.from_numpy(drawn))
    return network
