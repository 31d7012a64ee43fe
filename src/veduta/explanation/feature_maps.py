"""Feature maps of a layer, and the kernels of the first convolution."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from veduta.errors import InputError
from veduta.explanation.layers import trace_modules
from veduta.networks.backbones import Backbone


def compute_first_kernels(backbone: Backbone) -> Tensor:
    """Return the kernels (n, k, k, 3) of the first convolution with respect to normalized pixels.

    They are the gradients of its central output with respect to the input of the network, so they
    are right also where pixels are moved into channels before the convolution.

    Raises:
        InputError: the network has no convolution.
    """
    names = [
        output.name for output in trace_modules(backbone) if isinstance(output.module, nn.Conv2d)
    ]
    if not names:
        raise InputError(
            f"kernels are those of a convolution; {backbone.model.name} has none: leave --kernels "
            "out"
        )
    size = backbone.preprocessing.image_size
    image = torch.zeros((1, 3, size, size), dtype=backbone.mean.dtype, requires_grad=True)
    outputs: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        outputs.append(output)
        return output.detach().clone()

    handle = backbone.network.get_submodule(names[0]).register_forward_hook(hook)
    try:
        with torch.enable_grad():
            backbone.network(image)
    finally:
        handle.remove()
    height, width = outputs[0].shape[2:]
    central = outputs[0][0, :, height // 2, width // 2]
    gradients = [torch.autograd.grad(one, image, retain_graph=True)[0][0] for one in central]
    return _crop_to_nonzero(torch.stack(gradients)).permute(0, 2, 3, 1)


def scale_to_images(kernels: Tensor) -> Tensor:
    """Scale kernels to images from 0 to 1: gray is 0, the weight of largest magnitude is 0 or 1."""
    largest = kernels.abs().amax((1, 2, 3), keepdim=True)
    return 0.5 + 0.5 * kernels / largest.where(largest > 0, 1)


def _crop_to_nonzero(gradients: Tensor) -> Tensor:
    """Return the smallest window of gradients (n, 3, S, S) that contains all nonzero values."""
    nonzero = gradients.abs().amax((0, 1)) > 0
    rows, columns = (nonzero.any(axis).nonzero().flatten() for axis in (1, 0))
    if not len(rows):
        return gradients[:, :, :1, :1]
    top, left = int(rows[0]), int(columns[0])
    return gradients[:, :, top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]


@contextmanager
def capture_feature_maps(backbone: Backbone, layer: str) -> Iterator[list[Tensor]]:
    """Yield a list that holds the feature maps of `layer` as soon as the network has run.

    The feature maps are a leaf of the autograd graph: gradients end there. The network continues
    with a copy of them, so that in-place operations behind the layer do not change them.
    """
    captured: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        captured[:] = [output.detach().clone().requires_grad_()]
        return captured[0].clone()

    handle = backbone.network.get_submodule(layer).register_forward_hook(hook)
    try:
        yield captured
    finally:
        handle.remove()


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Set evaluation mode inside the context, and restore the mode of each module afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def compute_feature_maps(backbone: Backbone, pixels: Tensor, layer: str) -> Tensor:
    """Return the feature maps (B, C, H, W) of `layer` for uint8 pixels (B, S, S, 3).

    Args:
        backbone: the network.
        pixels: the images.
        layer: name of a module, such as that of a `layers.Layer`.
    """
    with torch.no_grad(), capture_feature_maps(backbone, layer) as captured:
        backbone(pixels)
    return captured[0].detach()
