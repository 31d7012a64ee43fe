"""`cnn`: our own small residual network (He et al. 2016, arXiv 1512.03385), made for two CPU cores.

The stem moves each square of 4 x 4 pixels into channels, so that the first convolution, dear and
poor where it looks at full resolution, looks at a sixteenth of the places with 48 channels each.
Behind it each stage halves the side; features are the mean over the places of the last maps.
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
    """A basic residual block: x + what two convolutions make of it.

    Attributes:
        zero: names of parameters that start at 0: the scale of the last batch norm, so that the
            block starts as the identity (Goyal et al. 2017, arXiv 1706.02677).
    """

    zero = ("conv2.1.weight",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*normed(channels, channels), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(*normed(channels, channels))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the shape of x."""
        found: Tensor = self.activation(self.conv2(self.conv1(x)) + x)
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
    first = options.channels[0]
    stem = [Squares(SQUARE), *normed(3 * SQUARE**2, first), nn.ReLU(inplace=True)]
    network = nn.Sequential()
    network.add_module("stem", nn.Sequential(*stem))
    before = first
    for number, maps in enumerate(options.channels, start=1):
        down = [*normed(before, maps, stride=2), nn.ReLU(inplace=True)] if number > 1 else []
        network.add_module(f"stage{number}", nn.Sequential(*down, Block(maps)))
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
