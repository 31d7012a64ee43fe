"""Grad-CAM against values computed by hand and finite differences; the network is unchanged."""

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.support.small_backbones import build_small_backbone, draw_noise
from veduta.config.network_specs import Head
from veduta.explanation.feature_maps import compute_feature_maps
from veduta.explanation.gradcam import compute_gradcam, weight_maps
from veduta.explanation.layers import find_layer
from veduta.networks.backbones import Backbone
from veduta.networks.heads import HeadNetwork, build_head_network

STEP = 1e-5


def build_tiny_networks() -> tuple[Backbone, HeadNetwork]:
    """Return networks whose two feature maps are the red and the blue of 2 x 2 pixels."""
    maps = nn.Conv2d(3, 2, 1, bias=False)
    maps.weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])[:, :, None, None]
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = build_head_network(Head(2, 2), 0)
    head.dense[0].weight.data = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    return build_small_backbone(nn.Sequential(maps, pool), 2, 2), head


def build_deep_networks(size: int = 9) -> tuple[Backbone, HeadNetwork]:
    """Return convolutions with batch norm and in-place activations, and a head of three layers."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Sequential(nn.BatchNorm2d(4), nn.SiLU(inplace=True)),
        nn.Sequential(nn.Conv2d(4, 5, 3), nn.Tanh(), nn.MaxPool2d(1)),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
    )
    network[1][0].running_mean.normal_()  # type: ignore[index]
    head = build_head_network(Head(20, 3, hidden=(7, 6), activation="tanh", batch_norm=True), 1)
    for norm in head.norms:
        norm.running_mean.normal_()
    return build_small_backbone(network, size, 20).double(), head.double()


def test_two_channels_agree_with_values_by_hand() -> None:
    backbone, head = build_tiny_networks()
    red, blue = [[255, 0], [0, 255]], [[0, 255], [255, 255]]
    pixels = torch.tensor([red, [[0, 0], [0, 0]], blue], dtype=torch.uint8).permute(1, 2, 0)
    both = pixels[None].repeat(2, 1, 1, 1)
    heat_maps = compute_gradcam(backbone, head, both, targets=torch.tensor([0, 1]))
    # gradients of logit 0 are 2/4 and -1/4 everywhere, those of logit 1 are 0 and 3/4
    raw = torch.tensor([[[0.5, 0.0], [0.0, 0.25]], [[0.0, 0.75], [0.75, 0.75]]])
    torch.testing.assert_close(heat_maps.raw, raw)
    torch.testing.assert_close(heat_maps.maps, raw / torch.tensor([0.5, 0.75])[:, None, None])
    assert compute_gradcam(backbone, head, both).targets.tolist() == [
        1,
        1,
    ]  # 3 * 3/4 is above 2/2 - 3/4


def compute_finite_differences(rest: nn.Module, maps: Tensor, target: int) -> Tensor:
    """Return central differences of a logit with respect to feature maps (1, C, h, w)."""
    gradients = torch.empty_like(maps)
    for index in range(maps.numel()):
        shifted = [maps.clone() for _ in range(2)]
        for one, step in zip(shifted, (STEP, -STEP), strict=True):
            one.view(-1)[index] += step
        above, below = (float(rest(one)[0, target]) for one in shifted)
        gradients.view(-1)[index] = (above - below) / (2 * STEP)
    return gradients


@pytest.mark.parametrize(
    ("layer", "cut"), [(None, (2, 1)), ("1", (0,)), ("2", (1,)), ("1.0", (1, 0))]
)
def test_gradcam_agrees_with_finite_differences(layer: str | None, cut: tuple[int, ...]) -> None:
    backbone, head = build_deep_networks()
    pixels = draw_noise(3, 9)
    targets = torch.tensor([2, 0, 1])
    chosen = find_layer(backbone, layer)
    heat_maps = compute_gradcam(backbone, head, pixels, targets=targets, layer=chosen)
    parts = list(copy.deepcopy(backbone.network))
    if len(cut) > 1:  # the layer is inside a part, which is replaced by its own parts
        parts[cut[0] : cut[0] + 1] = parts[cut[0]]
    before = nn.Sequential(*parts[: sum(cut) + 1])
    rest = nn.Sequential(*parts[sum(cut) + 1 :], copy.deepcopy(head).eval())
    with torch.no_grad():
        for number, target in enumerate(targets.tolist()):
            image = pixels[number : number + 1].permute(0, 3, 1, 2).contiguous().double() / 255
            maps = before(image).contiguous()
            gradients = compute_finite_differences(lambda x: rest(x.clone()), maps.clone(), target)  # type: ignore[arg-type]
            alpha = gradients.sum((2, 3)) / (maps.shape[2] * maps.shape[3])
            raw = sum(a * one for a, one in zip(alpha[0], maps[0], strict=True))
            torch.testing.assert_close(
                heat_maps.raw[number], raw.clamp(min=0), atol=1e-8, rtol=1e-6
            )
    assert heat_maps.raw.max() > 0


def test_weights_gradients_and_modes_stay_unchanged() -> None:
    backbone, head = build_deep_networks()
    head.train()
    before = copy.deepcopy((backbone.state_dict(), head.state_dict()))
    with torch.no_grad():
        first = compute_gradcam(backbone, head, draw_noise(4, 9))
    again = compute_gradcam(backbone, head, draw_noise(4, 9))
    assert torch.equal(first.maps, again.maps)
    for state, old in zip((backbone.state_dict(), head.state_dict()), before, strict=True):
        assert all(torch.equal(tensor, old[name]) for name, tensor in state.items())
    assert all(module.training for module in head.modules())
    assert not any(module.training for module in backbone.modules())
    assert all(p.grad is None for p in [*backbone.parameters(), *head.parameters()])
    assert not any(module._forward_hooks for module in backbone.modules())


def test_a_batch_agrees_with_its_images_one_by_one() -> None:
    backbone, head = build_deep_networks()
    pixels = draw_noise(5, 9)
    together = compute_gradcam(backbone, head, pixels)
    alone = [compute_gradcam(backbone, head, one[None]) for one in pixels]
    torch.testing.assert_close(together.raw, torch.cat([one.raw for one in alone]))
    assert together.maps.shape == (5, 9, 9)
    assert 0 <= together.maps.min() <= together.maps.max() <= 1


def test_the_map_is_0_if_no_position_supports_the_class() -> None:
    maps = torch.ones(1, 2, 3, 3)
    assert not weight_maps(maps, -maps).any()
    backbone, head = build_tiny_networks()
    black = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    assert not compute_gradcam(backbone, head, black).maps.any()


@pytest.mark.parametrize("layer", ["0", "1", "2"])
def test_feature_maps_agree_with_the_parts_of_the_network(layer: str) -> None:
    backbone, _ = build_deep_networks()
    pixels = draw_noise(2, 9)
    maps = compute_feature_maps(backbone, pixels, layer)
    parts = backbone.network[: int(layer) + 1]  # type: ignore[index]
    assert torch.equal(maps, parts(pixels.permute(0, 3, 1, 2).double() / 255))
    assert not maps.requires_grad
