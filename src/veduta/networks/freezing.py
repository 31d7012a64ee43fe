"""Partly frozen backbones: the leading stages keep their weights, the others train with the head.

A network is cut between two stages. What stands before the cut gives the same for an image whatever
is trained, so it runs once an image, like a whole frozen backbone; what stands behind it is part of
a trial's network, and starts from the pretrained weights.
"""

import copy
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veduta.config.settings import Settings
from veduta.networks.backbones import PREFIX, Backbone, normalised
from veduta.networks.catalogue.model import Model
from veduta.networks.heads import HeadNetwork, Noise
from veduta.networks.state_dicts import State


class Stages(nn.Module):
    """Consecutive stages of a network, run in order.

    Attributes:
        names: of its parts, as in the whole network.
        parts: they themselves, shared with it.
    """

    def __init__(self, network: nn.Module, stages: tuple[tuple[str, ...], ...]) -> None:
        super().__init__()
        self.names = [name for stage in stages for name in stage]
        self.parts = nn.ModuleList(network.get_submodule(name) for name in self.names)

    def forward(self, x: Tensor) -> Tensor:
        """What the last part gives; channels last in memory where x is."""
        for part in self.parts:
            if isinstance(part, nn.Linear):
                x = x.flatten(1)
            x = part(x)
        return x

    def known(self, name: str) -> str:
        """The name that one of its tensors has in the whole network."""
        _, number, rest = name.split(".", 2)
        return f"{self.names[int(number)]}.{rest}"


class Prefix(Backbone):
    """The leading stages of a backbone: frozen, from uint8 pixels to feature maps (C, H, W)."""

    def __init__(self, whole: Backbone, stages: int) -> None:
        """Cut `whole` after so many stages."""
        model, how = whole.model, whole.preprocessing
        network = Stages(whole.network, model.stages[:stages])
        super().__init__(model, network, preprocessing=how, source=whole.weights_source)
        self.cut = f"after {stages} of {len(model.stages)} stages"
        self.shape = _shape_of(network, how.image_size)


class Tail(nn.Module):
    """What trains of a backbone: the stages behind the cut, or with `frozen` 0 all of it.

    The stages take feature maps (B, C, H, W); the whole takes uint8 pixels (B, S, S, 3), which it
    normalises as the backbone does. Either gives features (B, D).

    Attributes:
        model: registry entry of the whole network.
        frozen: how many stages stand before it.
        features: D.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model, network: nn.Module, frozen: int) -> None:
        """What is left of a headless `network`; its weights are shared with it, not copied."""
        super().__init__()
        self.model, self.frozen = model, frozen
        self.features = model.features
        self.network = Stages(network, model.stages[frozen:]) if frozen else network
        for name, values in (("mean", model.mean), ("std", model.std)):
            self.register_buffer(name, torch.tensor(values, device="cpu"), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, D), floating point."""
        if self.frozen:
            maps = x.contiguous(memory_format=torch.channels_last)
        else:
            maps = normalised(x, self.mean, self.std)
        found: Tensor = self.network(maps)
        return found.flatten(1)

    def backbone_state(self) -> State:
        """Its tensors, under the names that they have in `Backbone.state_dict()`."""
        return {f"{PREFIX}{self._known(n)}": t for n, t in self.network.state_dict().items()}

    def stages(self) -> list[list[nn.Parameter]]:
        """The parameters of each stage that has any, the earliest first; one for all if unknown."""
        named = {self._known(name): p for name, p in self.network.named_parameters()}
        parts = [tuple(f"{part}." for part in s) for s in self.model.stages[self.frozen :]]
        found = [
            [p for name, p in named.items() if name.startswith(part)] for part in parts or ("",)
        ]
        return [stage for stage in found if stage]

    def _known(self, name: str) -> str:
        """The name that a tensor of `network` has in the whole network."""
        return self.network.known(name) if isinstance(self.network, Stages) else name


class TailNetwork(HeadNetwork):
    """A head behind a tail, trained together: from what the tail takes to logits (B, classes).

    Attributes:
        tail: a copy of its own; its batch norm trains too.
        opened: whether the tail trains, or the head alone in front of a tail that rests.
    """

    def __init__(self, head: HeadNetwork, tail: Tail) -> None:
        super().__init__(head.head)
        self.dense, self.norms = head.dense, head.norms
        self.tail = copy.deepcopy(tail).to(memory_format=torch.channels_last)
        self.open()

    @property
    def trained(self) -> int:
        """How many numbers it trains: those of head and tail."""
        return super().trained + sum(weights.numel() for weights in self.tail.parameters())

    def open(self, opened: bool = True) -> None:
        """Let the tail train with the head, or rest: no gradient, batch norm in evaluation mode."""
        self.opened = opened
        self.tail.requires_grad_(opened)
        for module in self.tail.modules():
            for name in getattr(module, "idle", ()):
                module.get_parameter(name).requires_grad_(False)
        self.tail.train(opened and self.training)

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode; a tail that rests stays in evaluation mode."""
        super().train(mode)
        self.tail.train(mode and self.opened)
        return self

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Logits; `noise` as in `HeadNetwork`."""
        with torch.set_grad_enabled(self.opened and torch.is_grad_enabled()):
            features = self.tail(x)
        return super().forward(features, noise)

    def groups(self, scale: float) -> list[tuple[float, list[nn.Parameter]]]:
        """The head at the learning rate, the first stage of the tail at `scale` of it.

        Of n stages that train, stage i from 0 has the factor scale^((n - i) / n).
        """
        head = [p for name, p in self.named_parameters() if not name.startswith("tail.")]
        stages = self.tail.stages()
        if scale == 1:
            return [(1.0, [*head, *(p for stage in stages for p in stage)])]
        count = len(stages)
        factors = [scale ** ((count - place) / count) for place in range(count)]
        return [*zip(factors, stages, strict=True), (1.0, head)]


def artefact_states(network: HeadNetwork) -> tuple[State, State]:
    """The tensors of the backbone that `network` has trained, and those of its head, by name."""
    head = {n: t for n, t in network.state_dict().items() if not n.startswith("tail.")}
    return network.tail.backbone_state() if isinstance(network, TailNetwork) else {}, head


def frozen_stages(settings: Settings) -> int:
    """How many leading stages keep their weights, where not all of them do: 0 of `none`.

    >>> frozen_stages(Settings(freeze="none")), frozen_stages(Settings(freeze=3))
    (0, 3)
    """
    assert settings.freeze != "all", "who asks has a tail"  # noqa: S101
    return 0 if settings.freeze == "none" else settings.freeze


def freeze_faults(settings: Settings, model: Model) -> list[str]:
    """What `freeze` must not be, for the model that `settings` name."""
    frozen, count = settings.freeze, len(model.stages)
    fault = ""
    if model.own and frozen != "none":
        fault = (
            f"freeze must be none for {model.name}, a network of our own that starts from random "
            f"weights; got {frozen}: give --freeze none, or leave it out"
        )
    elif isinstance(frozen, int) and not count:
        fault = (
            f"freeze must be all or none for {model.name}, whose stages are not known; got "
            f"{frozen}: give one of the two"
        )
    elif isinstance(frozen, int) and frozen >= count:
        fault = (
            f"freeze must be all, none, or below the {count} stages of {model.name}, so that one "
            f"is left to train; got {frozen}: give --freeze all to train the head alone"
        )
    return [fault] if fault else []


def _shape_of(network: nn.Module, image_size: int) -> tuple[int, ...]:
    """Shape of what a network makes of one image, found without computing anything."""
    shapes = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    image = torch.empty((1, 3, image_size, image_size), device="meta")
    return tuple(functional_call(network, shapes, image).shape[1:])
