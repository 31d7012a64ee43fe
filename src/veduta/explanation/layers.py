"""Layers of a network: names, shapes and spatial positions, found by one traced forward pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veduta.errors import InputError, describe_unknown_name
from veduta.networks.backbones import Backbone
from veduta.networks.catalogue.builtin import L2Pool


@dataclass(frozen=True, slots=True)
class ModuleOutput:
    """A module of a network and the output of its forward pass.

    Attributes:
        name: name of the module in the network.
        module: the module.
        shape: shape of its output; empty if the output is not a tensor.
        input_shape: shape of its first input; empty if the input is not a tensor.
        is_pooled: whether its output is that of a pooling layer.
        depth: fraction of the leaf modules that had finished when it finished.
    """

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    is_pooled: bool
    depth: float

    @property
    def has_feature_maps(self) -> bool:
        """Whether the output is square feature maps (B, C, H, W) with several positions."""
        return len(self.shape) == 4 and self.shape[2] == self.shape[3] > 1


def trace_modules(backbone: Backbone) -> list[ModuleOutput]:
    """Run a backbone on the meta device, and return its modules in the order in which they finish.

    The network itself is last.
    """
    network, size = backbone.network, backbone.preprocessing.image_size
    records: list[tuple[str, nn.Module, object, object]] = []

    def register_hook(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(
            lambda _, inputs, output: records.append(
                (name, module, inputs[0] if inputs else (), output)
            )
        )

    handles = [register_hook(name, module) for name, module in network.named_modules()]
    tensors = dict([*network.named_parameters(), *network.named_buffers()])
    meta_tensors = {name: tensor.to("meta") for name, tensor in tensors.items()}
    image = torch.empty((1, 3, size, size), dtype=backbone.mean.dtype, device="meta")
    try:
        functional_call(network, meta_tensors, image)
    finally:
        for handle in handles:
            handle.remove()
    # ids are unique because `records` keeps every output alive
    pooled = {id(output) for _, module, _, output in records if _is_pooling(module)}
    is_leaf = [not any(module.children()) for _, module, _, _ in records]
    depths = torch.tensor(is_leaf).cumsum(0) / sum(is_leaf)
    return [
        ModuleOutput(
            name, module, _get_shape(output), _get_shape(first_input), id(output) in pooled, depth
        )
        for (name, module, first_input, output), depth in zip(records, depths.tolist(), strict=True)
    ]


def _is_pooling(module: nn.Module) -> bool:
    """Return whether the class name of a module says "pool", as in torch, timm and Veduta."""
    return "pool" in type(module).__name__.lower()


def _get_shape(value: object) -> tuple[int, ...]:
    """Return the shape of a tensor; an empty tuple for anything else."""
    return tuple(value.shape) if isinstance(value, Tensor) else ()


STRIDED_LAYERS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


class Positions(NamedTuple):
    """Centers of a feature map's positions along an axis: start, start + step, ... in pixels."""

    start: float
    step: float


def center_positions(count: int, step: float, size: int) -> Positions:
    """Return `count` positions centered in an image of `size` pixels; pixel 0 has coordinate 0.

    >>> center_positions(7, 32, 224), center_positions(10, 9, 150)
    (Positions(start=15.5, step=32), Positions(start=34.0, step=9))
    """
    return Positions((size - 1 - step * (count - 1)) / 2, step)


def find_positions(layer: str, outputs: Sequence[ModuleOutput], size: int) -> Positions:
    """Return the spatial positions of a layer's feature maps in the image.

    The step is the product of the strides before the layer. If a module before it has an unknown
    stride, positions are evenly spaced over the image.

    Args:
        layer: name of a module with feature maps.
        outputs: outputs of all modules, in the order of `trace_modules`. Branches that are joined
            have the same spatial size, and therefore the same step.
        size: side of the image in pixels.
    """
    (count,) = {output.shape[-1] for output in outputs if output.name == layer}
    step_by_size = {size: 1}
    for output in outputs:
        is_leaf = not any(output.module.children())
        if is_leaf and len(output.input_shape) == len(output.shape) == 4:
            stride = _find_stride(output)
            if stride and output.input_shape[-1] in step_by_size:
                step_by_size[output.shape[-1]] = step_by_size[output.input_shape[-1]] * stride
        if output.name == layer:
            break
    return center_positions(count, step_by_size.get(count, size / count), size)


def upsample_maps(maps: Tensor, size: int, positions: Positions) -> Tensor:
    """Upsample maps (B, h, h) to (B, size, size): bilinear between positions, constant outside.

    For evenly spaced positions this equals `interpolate` of PyTorch with `align_corners=False`.
    """
    count = maps.shape[-1]
    pixels = torch.arange(size, dtype=maps.dtype)
    coordinates = ((pixels - positions.start) / positions.step).clamp(0, count - 1)
    indices = torch.arange(count, dtype=maps.dtype)
    weights = (1 - (coordinates[:, None] - indices).abs()).clamp(min=0)
    return weights @ maps @ weights.T


def normalize_maps(maps: Tensor) -> Tensor:
    """Clip negative values of maps (B, h, w) to 0, and scale the maximum of each map to 1.

    >>> normalize_maps(torch.tensor([[[-1.0, 2.0]], [[0.0, -3.0]]])).tolist()
    [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    positive = maps.clamp(min=0)
    maximum = positive.amax((1, 2), keepdim=True)
    return torch.where(maximum > 0, positive / maximum.where(maximum > 0, 1), 0)


def _find_stride(output: ModuleOutput) -> int:
    """Return the stride of a module without children; 0 if it is unknown."""
    module = output.module
    if isinstance(module, L2Pool):
        return module.p
    if isinstance(module, STRIDED_LAYERS):
        return module.stride if isinstance(module.stride, int) else module.stride[0]
    # elementwise modules have stride 1; pixel unshuffling and merging reduce the size
    stride, remainder = divmod(output.input_shape[-1], output.shape[-1])
    return 0 if remainder else stride


OCCLUSION_CURE = "give --method occlusion, which needs no feature maps"
MIN_DEPTH = 1 / 2  # minimum depth without known stages; a patch embedding is earlier


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of a network that computes feature maps.

    Attributes:
        name: name of the module in the network.
        shape: shape of its feature maps for one image, (C, H, W).
        positions: where the spatial positions of a feature map are in the image.
    """

    name: str
    shape: tuple[int, ...]
    positions: Positions


def find_layer(backbone: Backbone, layer: str | None = None) -> Layer:
    """Find the layer whose feature maps are used for explanations.

    The default is the last layer with feature maps before pooling that no branch bypasses: a
    module of a stage, or of a sequential container in it. If the stages are unknown, the children
    of the network are searched instead.

    Args:
        backbone: the network.
        layer: layer to use instead: the number of a stage, from 1, or the name of any module.

    Raises:
        InputError: there is no such layer, or it has no feature maps.
    """
    outputs = trace_modules(backbone)
    if layer is None:
        output = _find_default(outputs, backbone)
    elif layer.isdecimal() and backbone.model.stages:
        output = _find_in_stage(layer, outputs, backbone)
    else:
        output = _find_by_name(layer, outputs, backbone)
    positions = find_positions(output.name, outputs, backbone.preprocessing.image_size)
    return Layer(output.name, output.shape[1:], positions)


def _find_default(outputs: Sequence[ModuleOutput], backbone: Backbone) -> ModuleOutput:
    """Return the last output with feature maps before pooling."""
    stages = backbone.model.stages
    stage_modules = [name for stage in stages for name in stage]
    children = [output.name for output in outputs if output.name and "." not in output.name]
    output = _find_last(stage_modules or children, outputs)
    if output is None or (not stages and output.depth < MIN_DEPTH):
        size = backbone.preprocessing.image_size
        raise InputError(
            f"Grad-CAM needs feature maps (C, H, W) with several positions; {backbone.model.name} "
            f"has none, or none in its second half, at {size} x {size} pixels: {OCCLUSION_CURE}"
        )
    return output


def _find_in_stage(
    number: str, outputs: Sequence[ModuleOutput], backbone: Backbone
) -> ModuleOutput:
    """Return the last output with feature maps of a stage, given by its number."""
    stages, name = backbone.model.stages, backbone.model.name
    if not 1 <= int(number) <= len(stages):
        raise InputError(
            f"layer must be from 1 to {len(stages)}, the stages of {name}, or the name of a "
            f"module; got {number}: choose one of these"
        )
    output = _find_last(stages[int(number) - 1], outputs)
    if output is None:
        raise InputError(
            f"layer must have feature maps (C, H, W) with several positions; stage {number} of "
            f"{name} has none: choose an earlier one"
        )
    return output


def _find_by_name(layer: str, outputs: Sequence[ModuleOutput], backbone: Backbone) -> ModuleOutput:
    """Return the output of a module, given by its name."""
    output = {output.name: output for output in outputs if output.name}.get(layer)
    if output is None:
        stage_modules = [name for stage in backbone.model.stages for name in stage]
        children = [name for name, _ in backbone.network.named_children()]
        raise InputError(
            describe_unknown_name(
                f"layer of {backbone.model.name}", layer, stage_modules or children
            )
        )
    if not output.has_feature_maps:
        raise InputError(
            f"layer must have feature maps (C, H, W) with several positions; the output of {layer} "
            f"is {output.shape[1:] or 'not a tensor'}: choose an earlier one"
        )
    return output


def _find_last(names: Sequence[str], outputs: Sequence[ModuleOutput]) -> ModuleOutput | None:
    """Return the last output with feature maps before pooling of modules in forward order."""
    output_by_name = {output.name: output for output in outputs}
    candidates = [
        output_by_name[inner_name]
        for name in reversed(names)
        if name in output_by_name
        for inner_name in _iterate_backward(name, output_by_name[name].module)
        if inner_name in output_by_name
    ]
    return next((c for c in candidates if c.has_feature_maps and not c.is_pooled), None)


def _iterate_backward(name: str, module: nn.Module) -> Iterator[str]:
    """Yield the name of a module and, if it is sequential, those of its children, last first."""
    yield name
    if isinstance(module, nn.Sequential):
        for child_name, child in reversed(list(module.named_children())):
            yield from _iterate_backward(f"{name}.{child_name}", child)
