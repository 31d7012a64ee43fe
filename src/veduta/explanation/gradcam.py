r"""Grad-CAM: which places of the last maps raise the logit of a class (Selvaraju et al. 2017).

With the maps A^k of a layer (arXiv 1610.02391, equations 1 and 2; Z places):

    \alpha_k^c = \frac{1}{Z} \sum_{i,j} \frac{\partial y^c}{\partial A_{ij}^k}
    L^c = \mathrm{ReLU}(\sum_k \alpha_k^c A^k)

y^c is the logit of class c, through whatever stands behind the layer, the head included.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from veduta.explanation.feature_maps import resting, taken
from veduta.explanation.layers import Layer, enlarged, find_layer, scaled
from veduta.networks.backbones import Backbone
from veduta.networks.heads import HeadNetwork


@dataclass(frozen=True, slots=True)
class Heat:
    """Where images speak for a class.

    Attributes:
        raw: (B, h, w), in units of the method.
        maps: (B, S, S), from 0 to 1: the largest of each is 1, or all is 0 where nothing speaks
            for the class.
        targets: (B,), the class.
    """

    raw: Tensor
    maps: Tensor
    targets: Tensor


def gradcam(
    backbone: Backbone,
    head: HeadNetwork,
    pixels: Tensor,
    *,
    targets: Tensor | None = None,
    layer: Layer | None = None,
) -> Heat:
    """Grad-CAM of images; the network is left as it was.

    Args:
        backbone: frozen, as it is built.
        head: from its features to logits; in evaluation mode meanwhile.
        pixels: uint8 (B, S, S, 3).
        targets: class of each image (B,); default is the one predicted.
        layer: whose maps; default is what `find_layer` gives.

    Raises:
        InputError: the network has no such maps.
    """
    layer = layer or find_layer(backbone)
    with taken(backbone, layer.name) as found, resting(head), torch.enable_grad():
        logits = head(backbone(pixels))
        targets = logits.argmax(1) if targets is None else targets
        chosen = logits.gather(1, targets[:, None]).sum()  # an image's logit is its own maps' alone
        (slopes,) = torch.autograd.grad(chosen, found[0])
    raw = weighted(found[0].detach(), slopes)
    maps = enlarged(scaled(raw), pixels.shape[1], layer.places)
    return Heat(raw, maps, targets.detach())


def weighted(maps: Tensor, slopes: Tensor) -> Tensor:
    """Equations 1 and 2: L (B, h, w) of maps A and the slopes of the logit, both (B, C, h, w)."""
    alpha = slopes.mean((2, 3), keepdim=True)
    return (alpha * maps).sum(1).relu()
