"""`cnn`: our own small residual network (He et al. 2016, arXiv 1512.03385), made for two CPU cores.

The stem moves each square of 4 x 4 pixels into channels, so that the first convolution, dear and
poor where it looks at full resolution, looks at a sixteenth of the places with 48 channels each.
Behind it each stage but the first halves the side and widens the maps in one residual block; the
features are the mean over the places of the last maps.
"""

from typing import final

from torch import Tensor, nn

from veduta.models.model import Options

SQUARE = 4  # pixels a side that the stem moves into channels


def normed(channels: int, maps: int, *, stride: int = 1) -> list[nn.Module]:
    """A 3 x 3 convolution and its batch norm."""
    convolution = nn.Conv2d(channels, maps, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(maps)]


@final
class Block(nn.Module):
    """A basic residual block: a shortcut of x, and what two convolutions make of it.

    Where it halves the side, the shortcut is the mean over squares of 2 x 2 places, and a 1 x 1
    convolution to the new width: no place is left out (He et al. 2019, arXiv 1812.01187, ResNet-D).

    Attributes:
        zero: names of parameters that start at 0: the scale of the last batch norm, so that the
            block starts as its shortcut (Goyal et al. 2017, arXiv 1706.02677).
    """

    zero = ("conv2.1.weight",)

    def __init__(self, channels: int, maps: int, *, halves: bool = False) -> None:
        super().__init__()
        first = normed(channels, maps, stride=2 if halves else 1)
        self.conv1 = nn.Sequential(*first, nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(*normed(maps, maps))
        self.shortcut: nn.Module = nn.Identity()
        if halves:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(2, ceil_mode=True),
                nn.Conv2d(channels, maps, 1, bias=False),
                nn.BatchNorm2d(maps),
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, maps, H, W) of x (B, channels, H, W); where it halves, H and W are half, up."""
        found: Tensor = self.activation(self.conv2(self.conv1(x)) + self.shortcut(x))
        return found


def smallest(_options: Options) -> int:
    """Pixels a side below which nothing is left.

    >>> smallest(Options(image_size=96))
    8
    """
    return 2 * SQUARE


def cnn(options: Options) -> nn.Sequential:
    """The network up to its features: normalised (B, 3, S, S) in, (B, last channels) out.

    Stages are named `stem`, `stage1` and on, one for each of `options.channels`, and `pool`.
    """
    before = options.channels[0]
    stem = [Squares(SQUARE), *normed(3 * SQUARE**2, before), nn.ReLU(inplace=True)]
    network = nn.Sequential()
    network.add_module("stem", nn.Sequential(*stem))
    for number, maps in enumerate(options.channels, start=1):
        network.add_module(f"stage{number}", Block(before, maps, halves=number > 1))
        before = maps
    network.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return network


@final
class Squares(nn.Module):
    """Space to depth: each square of pixels becomes the channels of one place.

    Pixels that fill no square, at the right and below, are left out.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(B, C side^2, H / side, W / side) of x (B, C, H, W)."""
        height, width = (size - size % self.side for size in x.shape[2:])
        return nn.functional.pixel_unshuffle(x[:, :, :height, :width], self.side)
