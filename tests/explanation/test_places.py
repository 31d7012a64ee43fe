"""Where the places of a map lie: against torch's interpolation, and against what a place sees."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.explanation.small import backbone_of
from veduta.explanation.layers import Places, centred, enlarged, find_layer
from veduta.networks.backbones import build_backbone
from veduta.networks.catalogue.model import Options
from veduta.networks.catalogue.registry import with_options


@pytest.mark.parametrize(("count", "size"), [(2, 7), (7, 224), (9, 9), (5, 96)])
def test_even_places_are_interpolated_as_torch_does(count: int, size: int) -> None:
    maps = torch.rand(3, count, count, generator=torch.Generator().manual_seed(0)).double()
    expected = nn.functional.interpolate(maps[:, None], (size, size), mode="bilinear")[:, 0]
    torch.testing.assert_close(enlarged(maps, size, centred(count, size / count, size)), expected)


def test_a_peak_stands_at_its_place_and_heat_goes_on_to_the_rim() -> None:
    maps = torch.zeros(1, 3, 3)
    maps[0, 0, 2] = 1
    found = enlarged(maps, 21, Places(4, 6))[0]
    assert found[4, 16] == found.max() == 1
    assert found[7, 16] == found[4, 13] == 0.5
    assert found[0, 20] == 1
    assert found[10, 16] == found[4, 10] == 0


@pytest.mark.parametrize("pooling", ["average", "max", "l2"])
@pytest.mark.parametrize("size", [79, 84])
def test_places_of_the_reports_network_lie_in_the_middle_of_what_they_see(
    pooling: str, size: int
) -> None:
    options = Options(size, channels=(3, 3, 2), pooling=pooling, activation="tanh")
    model = with_options("report_cnn", options)
    backbone = build_backbone(model, "none", cache=Path("no cache is needed"))
    layer = find_layer(backbone)
    image = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    maps = backbone.network[:2](image)
    for part in list(backbone.network[2])[:-1]:
        maps = part(maps)
    assert maps.shape[1:] == layer.shape
    middles = []
    for place in range(layer.shape[1]):
        (slopes,) = torch.autograd.grad(maps[:, :, place].sum(), image, retain_graph=True)
        seen = slopes.abs().sum((0, 1, 3)).nonzero().flatten()
        middles.append((int(seen[0]) + int(seen[-1])) / 2)
    left = size - 1 - (middles[0] + middles[-1])  # pixels that no place sees, at the right
    expected = [layer.places.start + place * layer.places.step for place in range(len(middles))]
    assert expected == pytest.approx([middle + left / 2 for middle in middles], abs=0.5)
    if size == 79 and pooling == "average":
        assert expected == middles == [30, 39, 48]


def test_strides_of_any_kind_make_the_step() -> None:
    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, :-1, :-1]

    parts = [
        nn.PixelUnshuffle(2),
        nn.Conv2d(12, 4, 3, stride=2, padding=1),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
    ]
    plain = backbone_of(nn.Sequential(*parts), 64, 1)
    assert find_layer(plain, "4").places == centred(6, 8, 64)
    strange = backbone_of(nn.Sequential(Unknown(), *parts[1:2], nn.Conv2d(4, 4, 3)), 65, 1)
    strange.network[1] = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    assert find_layer(strange, "3").places == centred(30, 65 / 30, 65)
