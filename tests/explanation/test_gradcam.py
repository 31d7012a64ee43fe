"""Grad-CAM: by hand, by finite differences, and nothing of the network is changed."""

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.explanation.small import backbone_of, noise
from veduta.explanation.feature_maps import feature_maps
from veduta.explanation.gradcam import gradcam, weighted
from veduta.explanation.layers import find_layer
from veduta.networks.backbones import Backbone
from veduta.networks.heads import Head, HeadNetwork, build_head

STEP = 1e-5


def by_hand() -> tuple[Backbone, HeadNetwork]:
    """Two maps, the red and the blue of an image of 2 x 2 pixels; logits are of their means."""
    maps = nn.Conv2d(3, 2, 1, bias=False)
    maps.weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])[:, :, None, None]
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = build_head(Head(2, 2), 0)
    head.dense[0].weight.data = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    return backbone_of(nn.Sequential(maps, pool), 2, 2), head


def deep(size: int = 9) -> tuple[Backbone, HeadNetwork]:
    """Convolutions with batch norm and in-place activations, and a head of two hidden layers."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Sequential(nn.BatchNorm2d(4), nn.SiLU(inplace=True)),
        nn.Sequential(nn.Conv2d(4, 5, 3), nn.Tanh(), nn.MaxPool2d(1)),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
    )
    network[1][0].running_mean.normal_()
    head = build_head(Head(20, 3, hidden=(7, 6), activation="tanh", batch_norm=True), 1)
    for norm in head.norms:
        norm.running_mean.normal_()
    return backbone_of(network, size, 20).double(), head.double()


def test_two_channels_by_hand() -> None:
    backbone, head = by_hand()
    red, blue = [[255, 0], [0, 255]], [[0, 255], [255, 255]]
    pixels = torch.tensor([red, [[0, 0], [0, 0]], blue], dtype=torch.uint8).permute(1, 2, 0)
    both = pixels[None].repeat(2, 1, 1, 1)
    found = gradcam(backbone, head, both, targets=torch.tensor([0, 1]))
    # slopes of logit 0 are 2/4 and -1/4 everywhere, those of logit 1 are 0 and 3/4
    raw = torch.tensor([[[0.5, 0.0], [0.0, 0.25]], [[0.0, 0.75], [0.75, 0.75]]])
    torch.testing.assert_close(found.raw, raw)
    torch.testing.assert_close(found.maps, raw / torch.tensor([0.5, 0.75])[:, None, None])
    assert gradcam(backbone, head, both).targets.tolist() == [1, 1]  # 3 * 3/4 is above 2/2 - 3/4


def slopes_by_differences(rest: nn.Module, maps: Tensor, target: int) -> Tensor:
    """Central differences of a logit with respect to every number of maps (1, C, h, w)."""
    slopes = torch.empty_like(maps)
    for place in range(maps.numel()):
        moved = [maps.clone() for _ in range(2)]
        for one, step in zip(moved, (STEP, -STEP), strict=True):
            one.view(-1)[place] += step
        above, below = (float(rest(one)[0, target]) for one in moved)
        slopes.view(-1)[place] = (above - below) / (2 * STEP)
    return slopes


@pytest.mark.parametrize(
    ("layer", "cut"), [(None, (2, 1)), ("1", (0,)), ("2", (1,)), ("1.0", (1, 0))]
)
def test_it_agrees_with_finite_differences(layer: str | None, cut: tuple[int, ...]) -> None:
    backbone, head = deep()
    pixels = noise(3, 9)
    targets = torch.tensor([2, 0, 1])
    chosen = find_layer(backbone, layer)
    found = gradcam(backbone, head, pixels, targets=targets, layer=chosen)
    parts = list(copy.deepcopy(backbone.network))
    if len(cut) > 1:  # cut within a part: its own parts stand in its place
        parts[cut[0] : cut[0] + 1] = parts[cut[0]]
    before = nn.Sequential(*parts[: sum(cut) + 1])
    rest = nn.Sequential(*parts[sum(cut) + 1 :], copy.deepcopy(head).eval())
    with torch.no_grad():
        for number, target in enumerate(targets.tolist()):
            image = pixels[number : number + 1].permute(0, 3, 1, 2).contiguous().double() / 255
            maps = before(image).contiguous()
            slopes = slopes_by_differences(lambda x: rest(x.clone()), maps.clone(), target)
            alpha = slopes.sum((2, 3)) / (maps.shape[2] * maps.shape[3])
            raw = sum(a * one for a, one in zip(alpha[0], maps[0], strict=True))
            torch.testing.assert_close(found.raw[number], raw.clamp(min=0), atol=1e-8, rtol=1e-6)
    assert found.raw.max() > 0


def test_the_network_is_left_as_it_was() -> None:
    backbone, head = deep()
    head.train()
    before = copy.deepcopy((backbone.state_dict(), head.state_dict()))
    with torch.no_grad():
        first = gradcam(backbone, head, noise(4, 9))
    again = gradcam(backbone, head, noise(4, 9))
    assert torch.equal(first.maps, again.maps)
    for state, old in zip((backbone.state_dict(), head.state_dict()), before, strict=True):
        assert all(torch.equal(tensor, old[name]) for name, tensor in state.items())
    assert all(module.training for module in head.modules())
    assert not any(module.training for module in backbone.modules())
    assert all(p.grad is None for p in [*backbone.parameters(), *head.parameters()])
    assert not any(module._forward_hooks for module in backbone.modules())


def test_a_batch_is_what_its_images_are_alone() -> None:
    backbone, head = deep()
    pixels = noise(5, 9)
    together = gradcam(backbone, head, pixels)
    alone = [gradcam(backbone, head, one[None]) for one in pixels]
    torch.testing.assert_close(together.raw, torch.cat([one.raw for one in alone]))
    assert together.maps.shape == (5, 9, 9)
    assert 0 <= together.maps.min() <= together.maps.max() <= 1


def test_where_nothing_speaks_for_a_class_all_is_0() -> None:
    maps = torch.ones(1, 2, 3, 3)
    assert not weighted(maps, -maps).any()
    backbone, head = by_hand()
    black = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    assert not gradcam(backbone, head, black).maps.any()


@pytest.mark.parametrize("layer", ["0", "1", "2"])
def test_feature_maps_are_what_the_parts_before_give(layer: str) -> None:
    backbone, _ = deep()
    pixels = noise(2, 9)
    found = feature_maps(backbone, pixels, layer)
    parts = backbone.network[: int(layer) + 1]
    assert torch.equal(found, parts(pixels.permute(0, 3, 1, 2).double() / 255))
    assert not found.requires_grad
