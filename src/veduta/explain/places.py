r"""Where in an image each place of a map lies, and maps enlarged to the size of the image.

With padding the places of a map divide the image evenly. A chain of layers without padding, such as
the report's network, never centres on the rim: its n places lie `jump` pixels apart, the first at
pixel `start`. By layers of kernel k, stride s and padding p, from start = 0, jump = 1:

    start += ((k - 1) / 2 - p) jump;  jump *= s

(Dumoulin and Visin 2016, arXiv 1603.07285; Araujo et al. 2019, "Computing receptive fields").
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from veduta.explain.watching import Ran
from veduta.models.report_cnn import L2Pool

WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
PLAIN = (1, (1, 1))  # dilations


class Places(NamedTuple):
    """Centres of a map's places along either side: start, start + jump, ... in pixels."""

    start: float
    jump: float


def even(count: int, size: int) -> Places:
    """The places of a map that divides an image evenly.

    >>> even(2, 8)
    Places(start=1.5, jump=4.0)
    """
    return Places((size / count - 1) / 2, size / count)


def places_of(layer: str, ran: Sequence[Ran], size: int) -> Places:
    """Where the places of a layer's maps lie: exactly in a chain of plain layers, else evenly.

    Args:
        layer: name of a module that gives maps.
        ran: all of the network, itself the last.
        size: pixels a side of the image.
    """
    by_name = {one.name: one for one in ran}
    start, jump = 0.0, 1.0
    for name in _chain("", ran[-1].module, layer):
        window = _window(by_name[name])
        if window is None:
            return even(by_name[layer].shape[-1], size)
        kernel, stride, padding = window
        start += ((kernel - 1) / 2 - padding) * jump
        jump *= stride
    return Places(start, jump)


def enlarged(maps: Tensor, size: int, places: Places) -> Tensor:
    """Maps (B, h, h) as (B, size, size), bilinear between the places; beyond them, as at the last.

    For even places this is `torch.nn.functional.interpolate` without aligned corners.
    """
    count = maps.shape[-1]
    where = ((torch.arange(size, dtype=maps.dtype) - places.start) / places.jump).clamp(
        0, count - 1
    )
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


def _chain(name: str, module: nn.Module, last: str) -> Iterator[str]:
    """The smallest parts of a network in order, up to `last`; sequences alone are looked into."""
    if not isinstance(module, nn.Sequential):
        yield name
        return
    for inner, child in module.named_children():
        path = f"{name}.{inner}".removeprefix(".")
        yield from _chain(path, child, last)
        if last == path or last.startswith(f"{path}."):
            return


def _window(ran: Ran) -> tuple[int, int, int] | None:
    """Kernel, stride and padding along either side; None where they are not known."""
    module = ran.module
    if isinstance(module, L2Pool):
        return module.p, module.p, 0
    if isinstance(module, WINDOWS):
        if getattr(module, "dilation", 1) not in PLAIN or isinstance(module.padding, str):
            return None
        return _side(module.kernel_size), _side(module.stride), _side(module.padding)
    alone = not any(module.children())
    return (1, 1, 0) if alone and ran.shape[2:] == ran.before[2:] else None


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
