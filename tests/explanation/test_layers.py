"""The default layer of every model of the registry and of library networks, and its errors."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.small_backbones import draw_noise
from veduta.config.network_specs import Head
from veduta.errors import InputError
from veduta.explanation.gradcam import compute_gradcam
from veduta.explanation.layers import find_layer
from veduta.networks.backbones import build_backbone, build_headless_network, build_preprocessing
from veduta.networks.catalogue.registry import MODELS, find_model
from veduta.networks.heads import build_head_network

LAST_LAYERS = {  # the last feature maps before pooling, by the architecture's paper and code
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
WITHOUT_MAPS = ("mlp", "timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224")


def build_unweighted_backbone(name: str, size: int | None = None) -> Any:
    """Return the part of a backbone in which layers are found: names and shapes, no weights."""
    model = find_model(name)
    return SimpleNamespace(
        model=model,
        network=build_headless_network(model).eval(),
        preprocessing=build_preprocessing(model, size),
        mean=torch.zeros(3),
    )


def test_every_model_of_the_registry_is_tested() -> None:
    assert set(MODELS) <= {*LAST_LAYERS, *WITHOUT_MAPS, "cnn"}


@pytest.mark.parametrize(("name", "expected"), LAST_LAYERS.items())
def test_the_default_is_the_last_layer_before_pooling(
    name: str, expected: tuple[str, tuple[int, ...]]
) -> None:
    layer = find_layer(build_unweighted_backbone(name))
    assert (layer.name, layer.shape) == expected


def test_the_default_of_the_cnn_is_in_its_last_stage_with_feature_maps() -> None:
    backbone = build_unweighted_backbone("cnn")
    layer = find_layer(backbone)
    *_, (last,) = (stage for stage in backbone.model.stages if stage != ("pool",))
    assert layer.name.split(".")[0] == last
    assert layer.shape[1] == layer.shape[2] > 1


@pytest.mark.parametrize("name", WITHOUT_MAPS)
def test_a_network_without_feature_maps_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} has none.*--method occlusion"):
        find_layer(build_unweighted_backbone(name))


def test_the_default_for_tiny_images_is_the_last_layer_with_several_positions() -> None:
    assert find_layer(build_unweighted_backbone("resnet50", 32)).shape == (1024, 2, 2)
    assert (
        find_layer(build_unweighted_backbone("densenet121", 32)).name == "features.transition3.conv"
    )


def test_a_layer_is_found_by_stage_or_name() -> None:
    backbone = build_unweighted_backbone("efficientnet_lite0")
    assert find_layer(backbone, "5").name == find_layer(backbone, "blocks.3").name == "blocks.3"
    assert find_layer(backbone, "9") == find_layer(backbone)
    assert find_layer(backbone, "blocks.3.0.conv_pw").shape == (240, 28, 28)
    assert find_layer(build_unweighted_backbone("vgg16"), "3").name == "features.15"


@pytest.mark.parametrize(
    ("layer", "part"),
    [
        ("0", "layer must be from 1 to 9"),
        ("10", "layer must be from 1 to 9"),
        ("blocks.33", "no layer of efficientnet_lite0 is called 'blocks.33'; did you mean"),
        ("", "no layer of efficientnet_lite0 is called ''"),
        ("global_pool", "output of global_pool is"),
    ],
)
def test_an_unsuitable_layer_is_refused(layer: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        find_layer(build_unweighted_backbone("efficientnet_lite0"), layer)
    with pytest.raises(InputError, match="stage 4 of report_cnn has none"):
        find_layer(build_unweighted_backbone("report_cnn"), "4")


@pytest.mark.parametrize(
    ("name", "size"), [("vgg16", 32), ("resnet50", 64), ("densenet121", 64), ("inception_v3", 75)]
)
def test_library_networks_with_in_place_operations_have_heat_maps(name: str, size: int) -> None:
    backbone = build_backbone(name, "none", image_size=size, cache=Path("no cache is needed"))
    head = build_head_network(Head(backbone.model.features, 3), 0)
    heat_maps = compute_gradcam(backbone, head, draw_noise(2, size), targets=torch.tensor([0, 2]))
    assert heat_maps.maps.shape == (2, size, size)
    assert torch.isfinite(heat_maps.maps).all()
    assert heat_maps.raw.max() > 0
