"""Which layer is looked at: every model of the registry, libraries' networks, and what has none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.explanation.small import noise
from veduta.errors import InputError
from veduta.explanation.gradcam import gradcam
from veduta.explanation.layers import find_layer
from veduta.networks.backbones import build_backbone, headless, preprocessing_of
from veduta.networks.catalogue.registry import MODELS, find_model
from veduta.networks.heads import Head, build_head

LAST = {  # the last maps before pooling, by each architecture's paper and its library's code
    "efficientnet_lite0": ("bn2", (1280, 7, 7)),
    "efficientnet_lite1": ("bn2", (1280, 8, 8)),
    "efficientnet_lite2": ("bn2", (1280, 9, 9)),
    "report_cnn": ("block3.activation", (16, 10, 10)),
    "xception": ("act4", (2048, 10, 10)),
    "vgg16": ("features.29", (512, 14, 14)),
    "vgg16_fc": ("features.29", (512, 14, 14)),
    "vgg19": ("features.35", (512, 14, 14)),
    "resnet50": ("layer4", (2048, 7, 7)),
    "inception_v3": ("Mixed_7c", (2048, 8, 8)),
    "inception_resnet_v2": ("conv2d_7b", (1536, 8, 8)),
    "mobilenet": ("bn2", (1024, 7, 7)),
    "mobilenet_v2": ("bn2", (1280, 7, 7)),
    "densenet121": ("features.norm5", (1024, 7, 7)),
    "densenet169": ("features.norm5", (1664, 7, 7)),
    "densenet201": ("features.norm5", (1920, 7, 7)),
    "nasnet_large": ("act", (4032, 11, 11)),
    "timm:convnext_atto": ("norm_pre", (320, 7, 7)),
    "timm:resnet10t": ("layer4", (512, 6, 6)),
}
WITHOUT = ("mlp", "timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224")


def shell(name: str, size: int | None = None) -> Any:
    """As much of a backbone as a layer is found in: names and shapes, no weights."""
    model = find_model(name)
    return SimpleNamespace(
        model=model,
        network=headless(model).eval(),
        preprocessing=preprocessing_of(model, size),
        mean=torch.zeros(3),
    )


def test_every_model_is_here() -> None:
    assert set(MODELS) <= {*LAST, *WITHOUT, "cnn"}


@pytest.mark.parametrize(("name", "expected"), LAST.items())
def test_it_is_the_last_before_pooling(name: str, expected: tuple[str, tuple[int, ...]]) -> None:
    found = find_layer(shell(name))
    assert (found.name, found.shape) == expected


def test_that_of_our_own_network_is_of_its_last_stage_with_maps() -> None:
    backbone = shell("cnn")
    found = find_layer(backbone)
    *_, (last,) = (stage for stage in backbone.model.stages if stage != ("pool",))
    assert found.name.split(".")[0] == last
    assert found.shape[1] == found.shape[2] > 1


@pytest.mark.parametrize("name", WITHOUT)
def test_without_maps_the_error_names_the_cure(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} gives none.*--method occlusion"):
        find_layer(shell(name))


def test_of_tiny_images_it_is_the_last_that_tells_places_apart() -> None:
    assert find_layer(shell("resnet50", 32)).shape == (1024, 2, 2)
    assert find_layer(shell("densenet121", 32)).name == "features.transition3.conv"


def test_a_layer_is_asked_for_by_number_or_name() -> None:
    backbone = shell("efficientnet_lite0")
    assert find_layer(backbone, "5").name == find_layer(backbone, "blocks.3").name == "blocks.3"
    assert find_layer(backbone, "9") == find_layer(backbone)
    assert find_layer(backbone, "blocks.3.0.conv_pw").shape == (240, 28, 28)
    assert find_layer(shell("vgg16"), "3").name == "features.15"


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("0", "layer must be from 1 to 9"),
        ("10", "layer must be from 1 to 9"),
        ("blocks.33", "no layer of efficientnet_lite0 is called 'blocks.33'; did you mean"),
        ("", "no layer of efficientnet_lite0 is called ''"),
        ("global_pool", "global_pool gives"),
    ],
)
def test_a_wrong_layer_is_refused(layer: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_layer(shell("efficientnet_lite0"), layer)
    with pytest.raises(InputError, match="stage 4 of report_cnn gives none"):
        find_layer(shell("report_cnn"), "4")


@pytest.mark.parametrize(
    ("name", "size"), [("vgg16", 32), ("resnet50", 64), ("densenet121", 64), ("inception_v3", 75)]
)
def test_libraries_networks_with_parts_in_place_give_heat(name: str, size: int) -> None:
    backbone = build_backbone(name, "none", image_size=size, cache=Path("no cache is needed"))
    head = build_head(Head(backbone.model.features, 3), 0)
    found = gradcam(backbone, head, noise(2, size), targets=torch.tensor([0, 2]))
    assert found.maps.shape == (2, size, size)
    assert torch.isfinite(found.maps).all()
    assert found.raw.max() > 0
