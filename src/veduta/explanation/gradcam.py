r"""Grad-CAM: the regions of feature maps that raise the logit of a class (Selvaraju et al. 2017).

With the feature maps A^k of a layer (arXiv 1610.02391, equations 1 and 2; Z spatial positions):

    \alpha_k^c = \frac{1}{Z} \sum_{i,j} \frac{\partial y^c}{\partial A_{ij}^k}
    L^c = \mathrm{ReLU}(\sum_k \alpha_k^c A^k)

y^c is the logit of class c, computed by everything behind the layer, the head included.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from veduta.errors import InputError
from veduta.explanation.feature_maps import capture_feature_maps, evaluation_mode
from veduta.explanation.layers import Layer, find_layer, normalize_maps, upsample_maps
from veduta.networks.backbones import Backbone
from veduta.networks.heads import HeadNetwork
from veduta.types import Float32Array, IntArray, PixelArray

IMAGES_PER_BATCH = 16


@dataclass(frozen=True, slots=True)
class HeatMaps:
    """Grad-CAM maps of B images.

    Attributes:
        raw: (B, h, w), L^c of the equations above.
        maps: (B, S, S), from 0 to 1: the maximum of each is 1, or all is 0 if no position supports
            the class.
        targets: (B,), class index of each map.
    """

    raw: Tensor
    maps: Tensor
    targets: Tensor


def compute_gradcam(
    backbone: Backbone,
    head: HeadNetwork,
    pixels: Tensor,
    *,
    targets: Tensor | None = None,
    layer: Layer | None = None,
) -> HeatMaps:
    """Compute Grad-CAM maps of images; weights, gradients and modes stay unchanged.

    Args:
        backbone: the network that computes features.
        head: the network that computes logits from features; it runs in evaluation mode.
        pixels: uint8 (B, S, S, 3).
        targets: class index of each image (B,); default is the predicted one.
        layer: layer whose feature maps are used; default is that of `find_layer`.

    Raises:
        InputError: the network has no suitable feature maps.
    """
    layer = layer or find_layer(backbone)
    with (
        capture_feature_maps(backbone, layer.name) as captured,
        evaluation_mode(head),
        torch.enable_grad(),
    ):
        logits = head(backbone(pixels))
        targets = logits.argmax(1) if targets is None else targets
        # a logit depends on the feature maps of its own image only, so one sum gives all gradients
        target_logits = logits.gather(1, targets[:, None]).sum()
        (gradients,) = torch.autograd.grad(target_logits, captured[0])
    raw = weight_maps(captured[0].detach(), gradients)
    maps = upsample_maps(normalize_maps(raw), pixels.shape[1], layer.positions)
    return HeatMaps(raw, maps, targets.detach())


def weight_maps(maps: Tensor, gradients: Tensor) -> Tensor:
    """Return L (B, h, w) of equations 1 and 2.

    Args:
        maps: feature maps A, (B, C, h, w).
        gradients: of the logit with respect to them, (B, C, h, w).
    """
    alpha = gradients.mean((2, 3), keepdim=True)
    return (alpha * maps).sum(1).relu()


HeatMapFunction = Callable[[PixelArray, IntArray], Float32Array]
"""Returns heat maps (n, S, S), from 0 to 1, of pixels (n, S, S, 3) for one class each (n,)."""


def build_heat_map_function(
    backbone: Backbone, head: HeadNetwork
) -> tuple[HeatMapFunction | None, str]:
    """Return a function that computes Grad-CAM maps of any number of images, and a description.

    The function is None where the network has no feature maps; the description then says so.
    """
    try:
        layer = find_layer(backbone)
    except InputError:
        return None, "The network has no feature maps, so there are no Grad-CAM heat maps."

    def compute_heat_maps(pixels: PixelArray, targets: IntArray) -> Float32Array:
        batches = []
        for start in range(0, len(pixels), IMAGES_PER_BATCH):
            rows = slice(start, start + IMAGES_PER_BATCH)
            images, classes = torch.from_numpy(pixels[rows]), torch.from_numpy(targets[rows])
            heat_maps = compute_gradcam(backbone, head, images, targets=classes, layer=layer)
            batches.append(heat_maps.maps.numpy())
        return np.concatenate(batches)

    return compute_heat_maps, f"Grad-CAM at {layer.name}, for the predicted class"
