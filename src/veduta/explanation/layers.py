"""Layers of a network: names, shapes and receptive positions, found by one traced forward pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veduta.config.parsing import unknown
from veduta.errors import InputError
from veduta.networks.backbones import Backbone
from veduta.networks.catalogue.builtin import L2Pool


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


CURE = "give --method occlusion, which needs none"
LATE = 1 / 2  # of a network of unknown stages: maps before it are looked at by what is no map


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of a network that gives maps.

    Attributes:
        name: in the network.
        shape: of its maps of one image, (C, H, W).
        places: where in the image those of a map lie.
    """

    name: str
    shape: tuple[int, ...]
    places: Places


def find_layer(backbone: Backbone, layer: str | None = None) -> Layer:
    """The module whose maps are looked at.

    By default it is the last that gives maps before they are pooled, at a place that everything
    goes through: a part of a stage, or of a sequence in it. Where the stages are not known, the
    parts are those of the network itself.

    Args:
        backbone: the network.
        layer: another one: the number of a stage, from 1, or the name of any module.

    Raises:
        InputError: there are no such maps.
    """
    ran = watched(backbone)
    stages = backbone.model.stages
    if layer is None:
        found = _default(ran, backbone)
    elif layer.isdecimal() and stages:
        found = _of_stage(layer, ran, backbone)
    else:
        found = _named(layer, ran, backbone)
    size = backbone.preprocessing.image_size
    return Layer(found.name, found.shape[1:], places_of(found.name, ran, size))


def _default(ran: Sequence[Ran], backbone: Backbone) -> Ran:
    stages = backbone.model.stages
    parts = [part for stage in stages for part in stage]
    found = _last(parts or [one.name for one in ran if one.name and "." not in one.name], ran)
    if found is None or (not stages and found.depth < LATE):
        size = backbone.preprocessing.image_size
        raise InputError(
            f"Grad-CAM needs maps (C, H, W) of several places; {backbone.model.name} gives none, "
            f"or none late enough, at {size} x {size} pixels: {CURE}"
        )
    return found


def _of_stage(layer: str, ran: Sequence[Ran], backbone: Backbone) -> Ran:
    stages, name = backbone.model.stages, backbone.model.name
    if not 1 <= int(layer) <= len(stages):
        raise InputError(
            f"layer must be from 1 to {len(stages)}, the stages of {name}, or the name of a "
            f"module; got {layer}"
        )
    found = _last(stages[int(layer) - 1], ran)
    if found is None:
        raise InputError(
            f"layer must give maps (C, H, W) of several places; stage {layer} of {name} gives "
            "none: take one before it"
        )
    return found


def _named(layer: str, ran: Sequence[Ran], backbone: Backbone) -> Ran:
    found = {one.name: one for one in ran if one.name}.get(layer)
    if found is None:
        parts = [part for stage in backbone.model.stages for part in stage]
        children = [name for name, _ in backbone.network.named_children()]
        raise InputError(unknown(f"layer of {backbone.model.name}", layer, parts or children))
    if not found.maps:
        raise InputError(
            f"layer must give maps (C, H, W) of several places; {layer} gives "
            f"{found.shape[1:] or 'no tensor'}: take one before it"
        )
    return found


def _last(parts: Sequence[str], ran: Sequence[Ran]) -> Ran | None:
    """The last of consecutive parts, or in them, that gives maps which no pooling has made."""
    by_name = {one.name: one for one in ran}
    inside = [
        by_name[name]
        for part in reversed(parts)
        if part in by_name
        for name in _through(part, by_name[part].module)
        if name in by_name
    ]
    return next((one for one in inside if one.maps and not one.pooled), None)


def _through(name: str, module: nn.Module) -> Iterator[str]:
    """A part that everything goes through, and those in it where it is a sequence; last first."""
    yield name
    if isinstance(module, nn.Sequential):
        for inner, child in reversed(list(module.named_children())):
            yield from _through(f"{name}.{inner}", child)
