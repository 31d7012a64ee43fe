"""Frozen backbones: from uint8 pixels to features, normalisation included.

Normalisation is part of the module, so that every engine that runs it has the same definition, and
a caller cannot pair a network with the wrong statistics (which costs EfficientNet-Lite 11 points).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from veduta.errors import InputError
from veduta.networks.catalogue.model import Channels, Model
from veduta.networks.catalogue.registry import build_network, find_model, too_small
from veduta.networks.state_dicts import State, fit, random_state
from veduta.networks.weights import load_weights

DROPPING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
PREFIX = "network."  # of the names in Backbone.state_dict()


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a backbone's input: resized to a square, scaled to [0, 1], normalised.

    Attributes:
        image_size: pixels a side.
        filter: of the resizing, `bicubic` or `bilinear`.
        mean, std: of the channels red, green, blue, for pixels in [0, 1].
    """

    image_size: int
    filter: str
    mean: Channels
    std: Channels


def preprocessing_of(model: Model, image_size: int | None = None) -> Preprocessing:
    """The preprocessing that a model was trained with, at `image_size` or its native size.

    >>> preprocessing_of(find_model("efficientnet_lite0")).mean
    (0.5, 0.5, 0.5)

    Raises:
        InputError: the images would be too small for the network.
    """
    size = model.image_size if image_size is None else image_size
    if size < model.smallest:
        raise too_small(model, size, model.smallest)
    if model.fixed_size and size != model.image_size:
        raise InputError(
            f"image_size must be {model.image_size} for {model.name}, which takes no other; got "
            f"{size}: leave it out"
        )
    return Preprocessing(size, model.filter, model.mean, model.std)


class Backbone(nn.Module):
    """A network without its classifier, frozen, in evaluation mode for good.

    Attributes:
        model: its registry entry.
        preprocessing: what its input must have gone through; it normalises by itself.
        shape: of its output, the features of one image.
        cut: where the network ends, in words.
        weights_sha256: of its tensors (names, shapes and values), whatever file they came in.
        weights_source: where its weights come from, in words.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: Model, network: nn.Module, *, preprocessing: Preprocessing, source: str
    ) -> None:
        super().__init__()
        self.model = model
        self.preprocessing = preprocessing
        self.shape: tuple[int, ...] = (model.features,)
        self.cut = model.cut
        self.weights_source = source
        self.network = network
        self.weights_sha256 = digest(network.state_dict())
        self.register_buffer("mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, features), float32, of uint8 pixels (B, S, S, 3)."""
        features: Tensor = self.network(normalised(pixels, self.mean, self.std))
        return features

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stay in evaluation mode: a frozen batch norm keeps its statistics."""
        return super().train(False)


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """What networks take: (B, 3, S, S), channels last in memory, of uint8 pixels (B, S, S, 3)."""
    x = pixels.permute(0, 3, 1, 2).to(mean.dtype) / 255
    return (x - mean[:, None, None]) / std[:, None, None]


def build_backbone(
    model: Model | str,
    weights: str = "pretrained",
    *,
    image_size: int | None = None,
    seed: int = 0,
    cache: Path,
) -> Backbone:
    """The backbone of a model, with its weights.

    Args:
        model: its entry, or its name.
        weights: `pretrained`, `none` (random: a function of `seed`, name and shape of each tensor)
            or the path of a file.
        image_size: pixels a side; None is the size that the model was trained at.
        seed: of random weights.
        cache: folder that keeps what was downloaded and converted.

    Raises:
        InputError: no such model, or images too small for it.
        WeightsError: missing, damaged, foreign, or of another architecture.
    """
    model = find_model(model) if isinstance(model, str) else model
    preprocessing = preprocessing_of(model, image_size)
    found = load_weights(model, weights, cache=cache)
    network = headless(model)
    state = random_state(network, seed) if found.state is None else found.state
    expected = network.state_dict().keys()
    assign(network, {name: tensor for name, tensor in state.items() if name in expected})
    return Backbone(model, network, preprocessing=preprocessing, source=found.source)


def backbone_from_state(
    model: Model | str, state: Mapping[str, Tensor], *, preprocessing: Preprocessing
) -> Backbone:
    """The backbone that `Backbone.state_dict()` was taken from; no file of weights is touched.

    Args:
        model: its entry, or its name.
        state: its tensors.
        preprocessing: what its input goes through.

    Raises:
        InputError: no such model.
        WeightsError: the tensors are not those of this backbone.
    """
    model = find_model(model) if isinstance(model, str) else model
    tensors = {key.removeprefix(PREFIX): tensor for key, tensor in state.items()}
    network = headless(model)
    assign(network, fit(model, tensors))
    return Backbone(model, network, preprocessing=preprocessing, source="the artefact")


def headless(model: Model) -> nn.Module:
    """The network cut before its classifier, on the meta device: names and shapes, no values.

    Its tensors keep the names that they have in the whole network. Dropout in it is off: it draws
    from a generator of the process, and dropping is the head's part here.
    """
    with torch.device("meta"):
        network = build_network(model)
    for part in model.classifier:
        network.set_submodule(part, nn.Identity())
    for module in network.modules():
        if isinstance(module, DROPPING):
            module.p = 0.0
    return network


def assign(network: nn.Module, state: State) -> None:
    """Give a network on the meta device its tensors, float32 in memory of their own."""
    own = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    network.load_state_dict(own, strict=True, assign=True)


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, in the order of the names.

    >>> digest({"a": torch.zeros(2)}) == digest({"a": torch.zeros(1, 2)})
    False
    """
    sha256 = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.contiguous().numpy().tobytes())
    return sha256.hexdigest()
