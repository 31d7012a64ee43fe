"""Spatial positions of feature maps against torch's interpolation and receptive fields."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.small_backbones import build_small_backbone
from veduta.explanation.layers import Positions, center_positions, find_layer, upsample_maps
from veduta.networks.backbones import build_backbone
from veduta.networks.catalogue.model import Options
from veduta.networks.catalogue.registry import configure_model


@pytest.mark.parametrize(("count", "size"), [(2, 7), (7, 224), (9, 9), (5, 96)])
def test_evenly_spaced_positions_are_interpolated_as_by_torch(count: int, size: int) -> None:
    maps = torch.rand(3, count, count, generator=torch.Generator().manual_seed(0)).double()
    expected = nn.functional.interpolate(maps[:, None], (size, size), mode="bilinear")[:, 0]
    torch.testing.assert_close(
        upsample_maps(maps, size, center_positions(count, size / count, size)), expected
    )


def test_a_maximum_is_at_its_position_and_extends_to_the_border() -> None:
    maps = torch.zeros(1, 3, 3)
    maps[0, 0, 2] = 1
    upsampled = upsample_maps(maps, 21, Positions(4, 6))[0]
    assert upsampled[4, 16] == upsampled.max() == 1
    assert upsampled[7, 16] == upsampled[4, 13] == 0.5
    assert upsampled[0, 20] == 1
    assert upsampled[10, 16] == upsampled[4, 10] == 0


@pytest.mark.parametrize("pooling", ["average", "max", "l2"])
@pytest.mark.parametrize("size", [79, 84])
def test_positions_of_the_report_cnn_are_the_centers_of_receptive_fields(
    pooling: str, size: int
) -> None:
    options = Options(size, channels=(3, 3, 2), pooling=pooling, activation="tanh")
    model = configure_model("report_cnn", options)
    backbone = build_backbone(model, "none", cache=Path("no cache is needed"))
    layer = find_layer(backbone)
    image = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    maps = backbone.network[:2](image)  # type: ignore[index]
    for part in list(backbone.network[2])[:-1]:  # type: ignore[index]
        maps = part(maps)
    assert maps.shape[1:] == layer.shape
    centers = []
    for index in range(layer.shape[1]):
        (gradients,) = torch.autograd.grad(maps[:, :, index].sum(), image, retain_graph=True)
        receptive = gradients.abs().sum((0, 1, 3)).nonzero().flatten()
        centers.append((int(receptive[0]) + int(receptive[-1])) / 2)
    unused = size - 1 - (centers[0] + centers[-1])  # pixels at the right in no receptive field
    expected = [
        layer.positions.start + index * layer.positions.step for index in range(len(centers))
    ]
    assert expected == pytest.approx([center + unused / 2 for center in centers], abs=0.5)
    if size == 79 and pooling == "average":
        assert expected == centers == [30, 39, 48]


def test_the_step_is_the_product_of_all_strides() -> None:
    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, :-1, :-1]

    parts = [
        nn.PixelUnshuffle(2),
        nn.Conv2d(12, 4, 3, stride=2, padding=1),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
    ]
    known = build_small_backbone(nn.Sequential(*parts), 64, 1)
    assert find_layer(known, "4").positions == center_positions(6, 8, 64)
    unknown = build_small_backbone(nn.Sequential(Unknown(), *parts[1:2], nn.Conv2d(4, 4, 3)), 65, 1)
    unknown.network[1] = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    assert find_layer(unknown, "3").positions == center_positions(30, 65 / 30, 65)
