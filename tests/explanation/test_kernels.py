"""First-layer kernels are the weights, also where pixels were moved into channels before."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.explanation.small import backbone_of
from veduta.errors import InputError
from veduta.explanation.feature_maps import as_images, first_kernels
from veduta.networks.backbones import build_backbone


@pytest.mark.parametrize(
    ("name", "size", "first"),
    [
        ("efficientnet_lite0", 32, "conv_stem"),
        ("resnet50", 32, "conv1"),
        ("report_cnn", None, "block1.convolution"),
    ],
)
def test_they_are_the_weights(name: str, size: int | None, first: str) -> None:
    backbone = build_backbone(name, "none", image_size=size, cache=Path("no cache is needed"))
    before = backbone.weights_sha256
    weights = backbone.network.get_parameter(f"{first}.weight").permute(0, 2, 3, 1)
    found = first_kernels(backbone)
    torch.testing.assert_close(found, weights, atol=0, rtol=0)
    assert backbone.weights_sha256 == before
    assert not found.requires_grad


def test_pixels_that_became_channels_are_put_back() -> None:
    convolution = nn.Conv2d(12, 5, 3, padding=1)
    backbone = backbone_of(nn.Sequential(nn.PixelUnshuffle(2), convolution, nn.ReLU()), 12, 1)
    expected = torch.empty(5, 6, 6, 3)
    for row in range(6):
        for column in range(6):
            inner = 2 * (row % 2) + column % 2
            for colour in range(3):
                weights = convolution.weight[:, 4 * colour + inner, row // 2, column // 2]
                expected[:, row, column, colour] = weights.detach()
    torch.testing.assert_close(first_kernels(backbone), expected)


def test_as_images_grey_is_0_and_the_largest_is_full() -> None:
    kernels = torch.tensor([[[[-2.0, 0.0, 1.0]]], [[[0.0, 0.0, 0.0]]]])
    assert as_images(kernels).tolist() == [[[[0.0, 0.5, 0.75]]], [[[0.5, 0.5, 0.5]]]]


def test_without_a_convolution_there_are_none() -> None:
    backbone = build_backbone("mlp", "none", cache=Path("no cache is needed"))
    with pytest.raises(InputError, match="mlp has none"):
        first_kernels(backbone)
