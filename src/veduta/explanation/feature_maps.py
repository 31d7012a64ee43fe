"""Feature maps of a layer, and the kernels of the first layer."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from veduta.errors import InputError
from veduta.explanation.layers import watched
from veduta.networks.backbones import Backbone


def first_kernels(backbone: Backbone) -> Tensor:
    """Weights (kernels, k, k, 3) of the first convolution, from normalised pixels to its response.

    Raises:
        InputError: the network has no convolution.
    """
    names = [one.name for one in watched(backbone) if isinstance(one.module, nn.Conv2d)]
    if not names:
        raise InputError(
            f"kernels are those of a convolution; {backbone.model.name} has none: leave --kernels "
            "out"
        )
    size = backbone.preprocessing.image_size
    image = torch.zeros((1, 3, size, size), dtype=backbone.mean.dtype, requires_grad=True)
    found: list[Tensor] = []

    def hook(_module: nn.Module, _given: object, output: Tensor) -> Tensor:
        found.append(output)
        return output.detach().clone()

    handle = backbone.network.get_submodule(names[0]).register_forward_hook(hook)
    try:
        with torch.enable_grad():
            backbone.network(image)
    finally:
        handle.remove()
    middle = found[0][0, :, found[0].shape[2] // 2, found[0].shape[3] // 2]
    slopes = [torch.autograd.grad(one, image, retain_graph=True)[0][0] for one in middle]
    return _cut(torch.stack(slopes)).permute(0, 2, 3, 1)


def as_images(kernels: Tensor) -> Tensor:
    """Kernels as images from 0 to 1: grey is 0, the largest weight of each is black or full."""
    largest = kernels.abs().amax((1, 2, 3), keepdim=True)
    return 0.5 + 0.5 * kernels / largest.where(largest > 0, 1)


def _cut(slopes: Tensor) -> Tensor:
    """The window of (kernels, 3, S, S) outside which all are 0."""
    used = slopes.abs().amax((0, 1)) > 0
    rows, columns = (used.any(axis).nonzero().flatten() for axis in (1, 0))
    if not len(rows):
        return slopes[:, :, :1, :1]
    top, left = int(rows[0]), int(columns[0])
    return slopes[:, :, top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]


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
