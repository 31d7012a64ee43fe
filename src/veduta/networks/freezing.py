"""Partly frozen backbones: the leading stages are frozen, the others are trained with the head.

A network is split between two stages. The features after the frozen stages are the same in all
trials, so they are computed once per image, as those of a frozen backbone. The stages after the
split are part of the network of a trial and start from the pretrained weights.
"""

import copy
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veduta.config.settings import Settings
from veduta.networks.backbones import PREFIX, Backbone, normalize_pixels
from veduta.networks.catalogue.model import Model
from veduta.networks.heads import HeadNetwork, Noise
from veduta.networks.weights import State


class Stages(nn.Module):
    """Consecutive stages of a network.

    Attributes:
        names: names of the submodules, as in the whole network.
        parts: the submodules, shared with the whole network.
    """

    def __init__(self, network: nn.Module, stages: tuple[tuple[str, ...], ...]) -> None:
        super().__init__()
        self.names = [name for stage in stages for name in stage]
        self.parts = nn.ModuleList(network.get_submodule(name) for name in self.names)

    def forward(self, x: Tensor) -> Tensor:
        """Run the stages in order; the memory format of `x` is kept."""
        for part in self.parts:
            if isinstance(part, nn.Linear):
                x = x.flatten(1)
            x = part(x)
        return x

    def get_full_name(self, name: str) -> str:
        """Return the name that one of the tensors has in the whole network."""
        _, index, rest = name.split(".", 2)
        return f"{self.names[int(index)]}.{rest}"


class Prefix(Backbone):
    """The leading stages of a backbone: frozen, from uint8 pixels to feature maps (C, H, W)."""

    def __init__(self, whole: Backbone, stages: int) -> None:
        """Take the first `stages` stages of `whole`."""
        model, preprocessing = whole.model, whole.preprocessing
        network = Stages(whole.network, model.stages[:stages])
        super().__init__(model, network, preprocessing=preprocessing, source=whole.weights_source)
        self.cut = f"after {stages} of {len(model.stages)} stages"
        self.shape = _compute_output_shape(network, preprocessing.image_size)


class Tail(nn.Module):
    """The trained stages of a backbone: those after the frozen ones, or all of them.

    With frozen stages the input is feature maps (B, C, H, W), otherwise uint8 pixels (B, S, S, 3),
    which are normalized as in the backbone. The output is features (B, D).

    Attributes:
        model: registry entry of the whole network.
        frozen_stages: number of frozen stages before the tail.
        features: D.
        network: the trained stages.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model, network: nn.Module, frozen_stages: int) -> None:
        """Take the stages of a headless network after the frozen ones; weights are not copied."""
        super().__init__()
        self.model, self.frozen_stages = model, frozen_stages
        self.features = model.features
        self.network = Stages(network, model.stages[frozen_stages:]) if frozen_stages else network
        for name, values in (("mean", model.mean), ("std", model.std)):
            self.register_buffer(name, torch.tensor(values, device="cpu"), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features (B, D), floating point."""
        if self.frozen_stages:
            maps = x.contiguous(memory_format=torch.channels_last)
        else:
            maps = normalize_pixels(x, self.mean, self.std)
        features: Tensor = self.network(maps)
        return features.flatten(1)

    def backbone_state(self) -> State:
        """Return the tensors under the names that they have in `Backbone.state_dict()`."""
        return {
            f"{PREFIX}{self._get_full_name(name)}": tensor
            for name, tensor in self.network.state_dict().items()
        }

    def group_parameters_by_stage(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each stage that has any, from the first stage to the last.

        If the stages of the model are unknown, all parameters are one group.
        """
        parameters = {
            self._get_full_name(name): parameter
            for name, parameter in self.network.named_parameters()
        }
        stages = self.model.stages[self.frozen_stages :]
        prefixes = [tuple(f"{part}." for part in stage) for stage in stages] or [("",)]
        groups = [
            [parameter for name, parameter in parameters.items() if name.startswith(prefix)]
            for prefix in prefixes
        ]
        return [group for group in groups if group]

    def _get_full_name(self, name: str) -> str:
        """Return the name that a tensor of `network` has in the whole network."""
        return self.network.get_full_name(name) if isinstance(self.network, Stages) else name


class TailNetwork(HeadNetwork):
    """A tail and a head that are trained together: from the input of the tail to logits.

    Attributes:
        tail: a copy of the tail; its batch normalization is trained too.
        trains_tail: whether the tail is trained; otherwise only the head is.
    """

    def __init__(self, head: HeadNetwork, tail: Tail) -> None:
        super().__init__(head.head)
        self.dense, self.norms = head.dense, head.norms
        self.tail = copy.deepcopy(tail).to(memory_format=torch.channels_last)
        self.set_tail_trainable()

    @property
    def trained_parameters(self) -> int:
        """Number of parameters of head and tail."""
        tail_parameters = sum(weights.numel() for weights in self.tail.parameters())
        return super().trained_parameters + tail_parameters

    def set_tail_trainable(self, trainable: bool = True) -> None:
        """Train the tail, or freeze it and its batch normalization in evaluation mode."""
        self.trains_tail = trainable
        self.tail.requires_grad_(trainable)
        for module in self.tail.modules():
            for name in getattr(module, "untrained_parameters", ()):
                module.get_parameter(name).requires_grad_(False)
        self.tail.train(trainable and self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; a frozen tail stays in evaluation mode."""
        super().train(mode)
        self.tail.train(mode and self.trains_tail)
        return self

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Compute logits; `noise` is that of `HeadNetwork`."""
        with torch.set_grad_enabled(self.trains_tail and torch.is_grad_enabled()):
            features = self.tail(x)
        return super().forward(features, noise)

    def group_parameters(self, scale: float) -> list[tuple[float, list[nn.Parameter]]]:
        """Return the parameters with their factors of the learning rate.

        The head has the factor 1. Of n trained stages, stage i, from 0, has the factor
        scale^((n - i) / n).

        Args:
            scale: factor of the first trained stage.
        """
        head = [p for name, p in self.named_parameters() if not name.startswith("tail.")]
        stages = self.tail.group_parameters_by_stage()
        if scale == 1:
            return [(1.0, [*head, *(p for stage in stages for p in stage)])]
        count = len(stages)
        factors = [scale ** ((count - index) / count) for index in range(count)]
        return [*zip(factors, stages, strict=True), (1.0, head)]


def split_trained_state(network: HeadNetwork) -> tuple[State, State]:
    """Return the trained tensors of the backbone and the tensors of the head, by name.

    The former have their names in `Backbone.state_dict()`; there are none without a tail.
    """
    head = {n: t for n, t in network.state_dict().items() if not n.startswith("tail.")}
    return network.tail.backbone_state() if isinstance(network, TailNetwork) else {}, head


def find_freeze_errors(settings: Settings, model: Model) -> list[str]:
    """Return error messages if `freeze` does not fit the model that `settings` name."""
    freeze, count = settings.freeze, len(model.stages)
    fault = ""
    if model.is_builtin and settings.frozen_stages != 0:
        fault = (
            f"freeze must be none for {model.name}, a built-in network that starts from random "
            f"weights; got {freeze}: use --freeze none, or leave it out"
        )
    elif settings.frozen_stages and not count:
        fault = (
            f"freeze must be all or none for {model.name}, whose stages are unknown; got {freeze}: "
            "use --freeze all or --freeze none"
        )
    elif settings.frozen_stages and settings.frozen_stages >= count:
        fault = (
            f"freeze must be all, none, or less than the {count} stages of {model.name}, so that "
            f"one stage is trained; got {freeze}: use --freeze all to train only the head"
        )
    return [fault] if fault else []


def _compute_output_shape(network: nn.Module, image_size: int) -> tuple[int, ...]:
    """Return the shape of the output for one image, computed on the meta device."""
    shapes = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    image = torch.empty((1, 3, image_size, image_size), device="meta")
    return tuple(functional_call(network, shapes, image).shape[1:])
