"""Where in an image each place of a map lies, and maps enlarged to the size of the image.

A step in a map is the product of all strides before it, in pixels: that is exact, for convolutions
move with the image. Where the first place lies is not: padding would put it to the left or to the
right of the pixels that it stands for, by up to half a step, and learnt kernels put that right,
since a network that has seen images and their mirrors must treat both alike. So the places lie
around the middle of the image. Without padding, as in the report's network, they do not reach its
rim; spread over all of it, their heat would lie where the network has not looked.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from veduta.explain.watching import Ran
from veduta.models.report_cnn import L2Pool

WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


class Places(NamedTuple):
    """Centres of a map's places along either side: start, start + step, ... in pixels."""

    start: float
    step: float


def centred(count: int, step: float, size: int) -> Places:
    """So many places around the middle of an image of `size` pixels, whose pixel 0 is at 0.

    >>> centred(7, 32, 224), centred(10, 9, 150)
    (Places(start=15.5, step=32), Places(start=34.0, step=9))
    """
    return Places((size - 1 - step * (count - 1)) / 2, step)


def places_of(layer: str, ran: Sequence[Ran], size: int) -> Places:
    """Where the places of a layer's maps lie; evenly where a part before it is of an unknown kind.

    Args:
        layer: name of a module that gives maps.
        ran: what has run, in order; branches that meet agree in the side of their maps, and so in
            the step.
        size: pixels a side of the image.
    """
    (count,) = {one.shape[-1] for one in ran if one.name == layer}
    steps = {size: 1}  # by side of the maps
    for one in ran:
        if len(one.before) == len(one.shape) == 4 and not any(one.module.children()):
            stride = _stride(one)
            if stride and one.before[-1] in steps:
                steps[one.shape[-1]] = steps[one.before[-1]] * stride
        if one.name == layer:
            break
    return centred(count, steps.get(count, size / count), size)


def enlarged(maps: Tensor, size: int, places: Places) -> Tensor:
    """Maps (B, h, h) as (B, size, size), bilinear between the places; beyond them, as at the last.

    For even places this is `torch.nn.functional.interpolate` without aligned corners.
    """
    count = maps.shape[-1]
    pixels = torch.arange(size, dtype=maps.dtype)
    where = ((pixels - places.start) / places.step).clamp(0, count - 1)
    shares = (1 - (where[:, None] - torch.arange(count, dtype=maps.dtype)).abs()).clamp(min=0)
    return shares @ maps @ shares.T


def scaled(maps: Tensor) -> Tensor:
    """Maps (B, h, w) from 0 to 1: the largest of each is 1, what is below 0 is 0.

    >>> scaled(torch.tensor([[[-1.0, 2.0]], [[0.0, -3.0]]])).tolist()
    [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    above = maps.clamp(min=0)
    largest = above.amax((1, 2), keepdim=True)
    return torch.where(largest > 0, above / largest.where(largest > 0, 1), 0)


def _stride(ran: Ran) -> int:
    """Of a smallest part; 0 where it is not known."""
    module = ran.module
    if isinstance(module, L2Pool):
        return module.p
    if isinstance(module, WINDOWS):
        return module.stride if isinstance(module.stride, int) else module.stride[0]
    whole, rest = divmod(ran.before[-1], ran.shape[-1])
    return 0 if rest else whole  # nothing is moved, or squares become places
