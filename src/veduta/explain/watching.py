"""What stands in a network, seen by running it once: the shape that each module gives.

It runs on the meta device, where nothing is computed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veduta.models.backbones import Backbone


@dataclass(frozen=True, slots=True)
class Ran:
    """A module that ran, and what it gave.

    Attributes:
        name: in the network.
        module: it itself.
        shape: of its output; empty where that is no tensor.
        before: shape of its first input, likewise.
        pooled: whether its output is what a pooling layer gave.
        depth: share of the network's smallest parts that had run when it was done.
    """

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    before: tuple[int, ...]
    pooled: bool
    depth: float

    @property
    def maps(self) -> bool:
        """Whether it gives maps (B, C, H, W) of several places; images are squares, so they are."""
        return len(self.shape) == 4 and self.shape[2] == self.shape[3] > 1


def watched(backbone: Backbone) -> list[Ran]:
    """Every module of a backbone in the order in which they end; the network itself is last."""
    network, size = backbone.network, backbone.preprocessing.image_size
    ended: list[tuple[str, nn.Module, object, object]] = []

    def hook(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(
            lambda _, given, output: ended.append((name, module, given[0] if given else (), output))
        )

    handles = [hook(name, module) for name, module in network.named_modules()]
    tensors = dict([*network.named_parameters(), *network.named_buffers()])
    shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
    image = torch.empty((1, 3, size, size), dtype=backbone.mean.dtype, device="meta")
    try:
        functional_call(network, shapes, image)
    finally:
        for handle in handles:
            handle.remove()
    pooled = {id(output) for _, module, _, output in ended if _pools(module)}  # all are held above
    smallest = [not any(module.children()) for _, module, _, _ in ended]
    depths = torch.tensor(smallest).cumsum(0) / sum(smallest)
    return [
        Ran(name, module, _shape(output), _shape(given), id(output) in pooled, depth)
        for (name, module, given, output), depth in zip(ended, depths.tolist(), strict=True)
    ]


def _pools(module: nn.Module) -> bool:
    """Whether it is a pooling layer, of torch, of timm or of ours: all say so in their names."""
    return "pool" in type(module).__name__.lower()


def _shape(found: object) -> tuple[int, ...]:
    return tuple(found.shape) if isinstance(found, Tensor) else ()
