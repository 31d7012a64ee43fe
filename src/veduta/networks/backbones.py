"""Frozen backbones: networks without their classifier, which map uint8 pixels to features.

Normalization is part of the module, so that each engine that runs it uses the same definition, and
a network cannot be combined with wrong statistics (which costs EfficientNet-Lite 11 percentage
points of accuracy).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from veduta.config.network_specs import Preprocessing
from veduta.errors import InputError
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import build_network, create_size_error, find_model
from veduta.networks.weights import State, create_random_state, load_weights, match_state_dict

DROPOUT_MODULES = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
PREFIX = "network."  # of the tensor names in Backbone.state_dict()


def build_preprocessing(model: Model, image_size: int | None = None) -> Preprocessing:
    """Return the preprocessing that a model was trained with.

    >>> build_preprocessing(find_model("efficientnet_lite0")).mean
    (0.5, 0.5, 0.5)

    Args:
        model: the model.
        image_size: side length in pixels; None for the native size of the model.

    Raises:
        InputError: the image size is too small for the network, or the network has a fixed size.
    """
    size = model.image_size if image_size is None else image_size
    if size < model.min_image_size:
        raise create_size_error(model, size, model.min_image_size)
    if model.fixed_size and size != model.image_size:
        raise InputError(
            f"image_size must be {model.image_size} for {model.name}, which has a fixed size; got "
            f"{size}: leave it out"
        )
    return Preprocessing(size, model.filter, model.mean, model.std)


class Backbone(nn.Module):
    """A frozen network without its classifier, always in evaluation mode.

    Attributes:
        model: registry entry of the network.
        preprocessing: preprocessing of the input; the module itself does the normalization.
        shape: shape of the features of one image.
        cut: where the network ends, in words.
        weights_sha256: SHA-256 of names, dtypes, shapes and values of the tensors, independent of
            the file format.
        weights_source: origin of the weights, in words.
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
        self.weights_sha256 = compute_state_digest(network.state_dict())
        self.register_buffer("mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 features (B, features) of uint8 pixels (B, S, S, 3)."""
        features: Tensor = self.network(normalize_pixels(pixels, self.mean, self.std))
        return features

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stay in evaluation mode, so that batch normalization keeps its statistics."""
        return super().train(False)


def normalize_pixels(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the input of a network, (B, 3, S, S), from uint8 pixels (B, S, S, 3).

    The result is in channels-last memory format.
    """
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
    """Build the backbone of a model with its weights.

    Args:
        model: the model or its name.
        weights: `pretrained`, the path of a file, or `none` for random weights, determined by
            `seed` and the name and shape of each tensor.
        image_size: side length in pixels; None for the native size of the model.
        seed: seed of random weights.
        cache: folder for downloaded and converted files.

    Raises:
        InputError: the model does not exist, or the images are too small for it.
        WeightsError: the weights are missing, damaged, or for another architecture.
    """
    model = find_model(model) if isinstance(model, str) else model
    preprocessing = build_preprocessing(model, image_size)
    loaded = load_weights(model, weights, cache=cache)
    network = build_headless_network(model)
    state = create_random_state(network, seed) if loaded.state is None else loaded.state
    expected = network.state_dict().keys()
    assign_tensors(network, {name: tensor for name, tensor in state.items() if name in expected})
    return Backbone(model, network, preprocessing=preprocessing, source=loaded.source)


def restore_backbone(
    model: Model | str, state: Mapping[str, Tensor], *, preprocessing: Preprocessing
) -> Backbone:
    """Build a backbone from its `state_dict()`, without reading a weights file.

    Args:
        model: the model or its name.
        state: tensors of the backbone.
        preprocessing: preprocessing of its input.

    Raises:
        InputError: the model does not exist.
        WeightsError: the tensors are not those of this backbone.
    """
    model = find_model(model) if isinstance(model, str) else model
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    network = build_headless_network(model)
    assign_tensors(network, match_state_dict(model, tensors))
    return Backbone(model, network, preprocessing=preprocessing, source="the artifact")


def build_headless_network(model: Model) -> nn.Module:
    """Build the network without its classifier on the meta device: names and shapes, no values.

    The tensors have the same names as in the whole network. Dropout is disabled: it would draw from
    the global random number generator, and dropout belongs to the head.
    """
    with torch.device("meta"):
        network = build_network(model)
    for name in model.classifier:
        network.set_submodule(name, nn.Identity())
    for module in network.modules():
        if isinstance(module, DROPOUT_MODULES):
            module.p = 0.0
    return network


def assign_tensors(network: nn.Module, state: State) -> None:
    """Assign tensors to a network on the meta device; floating-point tensors become float32."""
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    network.load_state_dict(tensors, strict=True, assign=True)


def compute_state_digest(state: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of names, dtypes, shapes and values, in the order of the names.

    >>> digests = [compute_state_digest({"a": torch.zeros(shape)}) for shape in (2, (1, 2))]
    >>> digests[0] == digests[1]
    False
    """
    sha256 = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.contiguous().numpy().tobytes())
    return sha256.hexdigest()
