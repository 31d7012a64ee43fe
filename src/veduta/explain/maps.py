"""What a layer makes of images, and what becomes of it: maps taken out of a network as it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from veduta.models.backbones import Backbone


@contextmanager
def taken(backbone: Backbone, layer: str) -> Iterator[list[Tensor]]:
    """A list that holds the maps of `layer` as soon as the network has run: a leaf of the graph.

    The network goes on with a copy of them, so that nothing behind changes them in place; what
    stands before the layer is not in the graph.
    """
    found: list[Tensor] = []

    def hook(_module: nn.Module, _given: object, output: Tensor) -> Tensor:
        found[:] = [output.detach().clone().requires_grad_()]
        return found[0].clone()

    handle = backbone.network.get_submodule(layer).register_forward_hook(hook)
    try:
        yield found
    finally:
        handle.remove()


@contextmanager
def resting(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each module is as it was."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def feature_maps(backbone: Backbone, pixels: Tensor, layer: str) -> Tensor:
    """The maps (B, C, H, W) that `layer` gives for uint8 pixels (B, S, S, 3).

    Args:
        backbone: the network.
        pixels: of the images.
        layer: name of a module, such as `layers.find_layer` gives.
    """
    with torch.no_grad(), taken(backbone, layer) as found:
        backbone(pixels)
    return found[0].detach()
