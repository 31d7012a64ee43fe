"""The kernels of a network's first convolution, as they see the pixels of an image.

They are read off as slopes of its response at one place with respect to the normalised image, so
that a network which first moves pixels into channels shows what it looks at in the image too.
"""

import torch
from torch import Tensor, nn

from veduta.errors import InputError
from veduta.explain.watching import watched
from veduta.models.backbones import Backbone


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
