"""Which layer of a network to look at: the last that still tells the places of an image apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from veduta.config.parsing import unknown
from veduta.errors import InputError
from veduta.explain.places import Places, places_of
from veduta.explain.watching import Ran, watched
from veduta.models.backbones import Backbone

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
