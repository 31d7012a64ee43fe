"""First-layer kernels are the weights, also if pixels are moved into channels before."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.small_backbones import build_small_backbone
from veduta.errors import InputError
from veduta.explanation.feature_maps import compute_first_kernels, scale_to_images
from veduta.networks.backbones import build_backbone


@pytest.mark.parametrize(
    ("name", "size", "first"),
    [
        ("efficientnet_lite0", 32, "conv_stem"),
        ("resnet50", 32, "conv1"),
        ("report_cnn", None, "block1.convolution"),
    ],
)
def test_kernels_are_the_weights_of_the_first_convolution(
    name: str, size: int | None, first: str
) -> None:
    backbone = build_backbone(name, "none", image_size=size, cache=Path("no cache is needed"))
    before = backbone.weights_sha256
    weights = backbone.network.get_parameter(f"{first}.weight").permute(0, 2, 3, 1)
    kernels = compute_first_kernels(backbone)
    torch.testing.assert_close(kernels, weights, atol=0, rtol=0)
    assert backbone.weights_sha256 == before
    assert not kernels.requires_grad


def test_kernels_are_rearranged_if_pixels_are_moved_into_channels() -> None:
    convolution = nn.Conv2d(12, 5, 3, padding=1)
    backbone = build_small_backbone(
        nn.Sequential(nn.PixelUnshuffle(2), convolution, nn.ReLU()), 12, 1
    )
    expected = torch.empty(5, 6, 6, 3)
    for row in range(6):
        for column in range(6):
            inner = 2 * (row % 2) + column % 2
            for color in range(3):
                weights = convolution.weight[:, 4 * color + inner, row // 2, column // 2]
                expected[:, row, column, color] = weights.detach()
    torch.testing.assert_close(compute_first_kernels(backbone), expected)


def test_kernel_images_show_0_as_gray_and_the_largest_weight_as_black_or_white() -> None:
    kernels = torch.tensor([[[[-2.0, 0.0, 1.0]]], [[[0.0, 0.0, 0.0]]]])
    assert scale_to_images(kernels).tolist() == [[[[0.0, 0.5, 0.75]]], [[[0.5, 0.5, 0.5]]]]


def test_a_network_without_convolutions_has_no_kernels() -> None:
    backbone = build_backbone("mlp", "none", cache=Path("no cache is needed"))
    with pytest.raises(InputError, match="mlp has none"):
        compute_first_kernels(backbone)
