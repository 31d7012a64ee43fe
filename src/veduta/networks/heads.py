"""Networks of heads: the dense layers between the features of a backbone and the logits.

A head is described by `Head` and built from that description, so that a trial trained alone and
trials trained together use the same definition.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.networks.catalogue.builtin import ACTIVATIONS
from veduta.runtime.streams import derive_key, draw_tensor

Noise = Callable[[int, int], Tensor]
"""Maps (layer, width) to uniform random numbers in [0, 1), of shape (B, width), for dropout."""

HIDDEN_LAYER_SETTINGS = frozenset({"activation", "batch_norm", "norm_first", "dropout_layers"})
"""Settings that have no effect on a head without hidden layers."""


def describe_head(settings: Settings, features: int, classes: int) -> Head:
    """Return the description of the head that `settings` define."""
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
    """The network of a head; maps features (B, features) to logits (B, classes).

    A bias before batch normalization is not trained. Batch normalization removes it, so its
    gradient is zero up to rounding; an adaptive optimizer would scale this rounding error up to
    a full step and change the bias, and the running mean would lag behind.
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
    def trained_parameters(self) -> int:
        """Number of parameters of the trained layers, which is the cost of a trial."""
        return self.head.parameters

    def set_tail_trainable(self, trainable: bool = True) -> None:
        """Train or freeze the stages before the head; a head alone has none."""

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Compute logits; dropout is applied if `noise` is given, as in training.

        Dropout (report, section 4.3) multiplies the remaining units by 1 / (1 - dropout), so that
        the expectation of a unit is the same in training and in evaluation.
        """
        if not self.head.hidden:
            x = self._drop(x, 0, noise)
        for index, layer in enumerate(self.dense[:-1]):
            x = layer(x)
            for function in self._list_functions_after(index):
                x = function(x)
            x = self._drop(x, index, noise)
        logits: Tensor = self.dense[-1](x)
        return logits

    def group_parameters(self, scale: float) -> list[tuple[float, list[nn.Parameter]]]:  # noqa: ARG002
        """Return the parameters by factor of the learning rate, which is 1 for a head.

        Args:
            scale: factor of the first trained stage before the head; not used by a head alone.
        """
        return [(1.0, list(self.parameters()))]

    def _list_functions_after(self, index: int) -> list[Callable[[Tensor], Tensor]]:
        """List the functions between a hidden layer and its dropout, in order."""
        if not self.head.batch_norm:
            return [self.activation]
        functions: list[Callable[[Tensor], Tensor]] = [self.norms[index], self.activation]
        return functions if self.head.norm_first else functions[::-1]

    def _drop(self, x: Tensor, layer: int, noise: Noise | None) -> Tensor:
        dropout = self.head.dropout
        if noise is None or dropout == 0 or not self.head.has_dropout(layer):
            return x
        return x * (noise(layer, x.shape[1]) >= dropout) / (1 - dropout)


def build_head_network(head: Head, seed: int) -> HeadNetwork:
    """Build the network of a head with initial weights, a pure function of (seed, layer, shape).

    Weights and biases are uniform in [-b, b] with b = 1/sqrt(inputs), as in `torch.nn.Linear`. Each
    tensor has its own random stream, so the weights of a trial do not depend on earlier draws.
    """
    network = HeadNetwork(head)
    with torch.no_grad():
        for index, layer in enumerate(network.dense):
            bound = head.widths[index] ** -0.5
            for name, parameter in layer.named_parameters():
                shape = tuple(parameter.shape)
                key = derive_key(seed, "initial weights", index, name, *shape)
                numbers = draw_tensor(key, shape)  # float64; updated in place to avoid copies
                numbers *= 2
                numbers -= 1
                numbers *= bound
                parameter.copy_(torch.from_numpy(numbers))
    return network
