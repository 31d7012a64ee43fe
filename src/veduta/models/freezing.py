"""Partly frozen backbones: the leading stages keep their weights, the others train with the head.

A network is cut between two stages. What stands before the cut gives the same for an image whatever
is trained, so it runs once an image, like a whole frozen backbone; what stands behind it is part of
a trial's network, and starts from the pretrained weights.
"""

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veduta.config.settings import Settings
from veduta.models.backbones import PREFIX, Backbone
from veduta.models.fitting import State
from veduta.models.heads import HeadNetwork, Noise
from veduta.models.registry import MODELS, Model


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
            x = part(x)
        return x


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
    """The stages behind the cut: from feature maps (B, C, H, W) to features (B, D).

    Attributes:
        model: registry entry of the whole network.
        frozen: how many stages stand before it.
        features: D.
    """

    def __init__(self, model: Model, network: nn.Module, frozen: int) -> None:
        """What is left of a headless `network`; its weights are shared with it, not copied."""
        super().__init__()
        self.model, self.frozen = model, frozen
        self.features = model.features
        self.stages = Stages(network, model.stages[frozen:])
        self.register_buffer("mean", torch.tensor(model.mean), persistent=False)
        self.register_buffer("std", torch.tensor(model.std), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Features (B, D), float32."""
        if self.frozen == 0:
            x = maps.permute(0, 3, 1, 2).float() / 255
            maps = (x - self.mean[:, None, None]) / self.std[:, None, None]
        found: Tensor = self.stages(maps.contiguous(memory_format=torch.channels_last))
        return found.flatten(1)

    def backbone_state(self) -> State:
        """Its tensors, under the names that they have in `Backbone.state_dict()`."""
        return {
            f"{PREFIX}{name}.{key}": tensor
            for name, part in zip(self.stages.names, self.stages.parts, strict=True)
            for key, tensor in part.state_dict().items()
        }


class TailNetwork(HeadNetwork):
    """A head behind a tail, trained together: from maps (B, C, H, W) to logits (B, classes).

    Attributes:
        tail: a copy of its own, every weight of it free; its batch norm trains too.
    """

    def __init__(self, head: HeadNetwork, tail: Tail) -> None:
        super().__init__(head.head)
        self.dense, self.norms = head.dense, head.norms
        free = copy.deepcopy(tail).requires_grad_(True)
        self.tail = free.to(memory_format=torch.channels_last)

    @property
    def trained(self) -> int:
        """How many numbers it trains: those of head and tail."""
        return super().trained + sum(weights.numel() for weights in self.tail.parameters())

    def groups(self, scale: float) -> list[tuple[float, list[nn.Parameter]]]:
        head = [*self.dense.parameters(), *self.norms.parameters()]
        return [(scale, list(self.tail.parameters())), (1.0, head)]

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Logits; `noise` as in `HeadNetwork`."""
        return super().forward(self.tail(x), noise)


def artefact_states(network: HeadNetwork) -> tuple[State, State]:
    """The tensors of the backbone that `network` has trained, and those of its head, by name."""
    head = {n: t for n, t in network.state_dict().items() if not n.startswith("tail.")}
    return network.tail.backbone_state() if isinstance(network, TailNetwork) else {}, head


def freeze_faults(settings: Settings) -> list[str]:
    """What `freeze` must not be, for the model that `settings` name."""
    if settings.freeze in ("all", "none") or settings.model not in MODELS:
        return []
    count = len(MODELS[settings.model].stages)
    fault = (
        f"freeze must be all, or below the {count} stages of {settings.model}, so that one is left "
        f"to train; got {settings.freeze}: give --freeze all to train the head alone"
    )
    return [fault] if settings.freeze != "none" and settings.freeze >= count else []


def _shape_of(network: nn.Module, image_size: int) -> tuple[int, ...]:
    """Shape of what a network makes of one image, found without computing anything."""
    shapes = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    image = torch.empty((1, 3, image_size, image_size), device="meta")
    return tuple(functional_call(network, shapes, image).shape[1:])
