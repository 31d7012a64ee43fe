"""The networks that Veduta defines itself: report_cnn, cnn and mlp."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from veduta.networks.catalogue.model import Options
from veduta.networks.heads import ACTIVATIONS

KERNEL, POOL = 5, 3


@final
class L2Pool(nn.Module):
    r"""Equation 31b: z_{i,j} = \sqrt{\sum_{n=1}^p \sum_{m=1}^p z_{i+n-1,\, j+m-1}^2}.

    Where a region is all zeros its derivative is 0, as in `foundations.pooling`.
    """

    def __init__(self, p: int) -> None:
        super().__init__()
        self.p = p

    def forward(self, z: Tensor) -> Tensor:
        """Pooled maps (B, maps, H / p, W / p) of z (B, maps, H, W)."""
        squares = nn.functional.avg_pool2d(z * z, self.p) * self.p**2
        zero = squares == 0
        return torch.where(zero, 0.0, torch.where(zero, 1.0, squares).sqrt())


@final
class Convolution(nn.Conv2d):
    """A convolution whose bias may be untied: one for every place of every map (equation 30).

    Args:
        channels, maps: of what comes in and goes out.
        size: pixels a side of what goes out, where the bias is untied; else None.
    """

    def __init__(self, channels: int, maps: int, size: int | None) -> None:
        super().__init__(channels, maps, KERNEL)
        self.untied = size is not None
        if size is not None:
            self.bias = nn.Parameter(torch.zeros(maps, size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Maps z (B, maps, H - 4, W - 4)."""
        if not self.untied:
            return super().forward(x)
        assert self.bias is not None  # noqa: S101
        return nn.functional.conv2d(x, self.weight) + self.bias


@final
class Activation(nn.Module):
    """An activation, as a part of a network."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, z: Tensor) -> Tensor:
        """psi(z)."""
        return ACTIVATIONS[self.name](z)


POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d, "l2": L2Pool}


@final
class ReportBlock(nn.Sequential):
    """One convolution of the report and what follows it.

    Attributes:
        idle: names of parameters that do not train: a tied bias before batch norm, which takes it
            out again (as in `heads.HeadNetwork`).
    """

    def __init__(self, channels: int, maps: int, *, size: int, options: Options) -> None:
        """`size`: pixels a side of its convolution's maps."""
        norm = {"norm": nn.BatchNorm2d(maps)} if options.batch_norm else {}
        activation = {"activation": Activation(options.activation)}
        middle = {**norm, **activation} if options.norm_first else {**activation, **norm}
        convolution = Convolution(channels, maps, size if options.untied_bias else None)
        super().__init__()
        self.add_module("convolution", convolution)
        for name, part in middle.items():
            self.add_module(name, part)
        self.add_module("pool", POOLS[options.pooling](POOL))
        follows = bool(norm) and options.norm_first
        self.idle = ("convolution.bias",) if follows and not options.untied_bias else ()


def smallest_report_cnn_image(options: Options) -> int:
    """Pixels a side below which nothing is left after the last pooling.

    >>> smallest(Options(image_size=150, channels=(64, 32, 16)))
    79
    """
    size = 1
    for _ in options.channels:
        size = POOL * size + KERNEL - 1
    return size


def report_cnn(options: Options) -> nn.Sequential:
    """The network up to its features: normalised (B, 3, S, S) in, (B, features) out."""
    network = nn.Sequential()
    channels, size = 3, options.image_size
    for number, maps in enumerate(options.channels, start=1):
        size -= KERNEL - 1
        block = ReportBlock(channels, maps, size=size, options=options)
        network.add_module(f"block{number}", block)
        channels, size = maps, size // POOL
    network.add_module("flatten", nn.Flatten())
    return network


SQUARE = 4  # pixels a side that the stem moves into channels


def normed(channels: int, maps: int, *, stride: int = 1) -> list[nn.Module]:
    """A 3 x 3 convolution and its batch norm."""
    convolution = nn.Conv2d(channels, maps, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(maps)]


@final
class ResidualBlock(nn.Module):
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


def smallest_cnn_image(_options: Options) -> int:
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
        network.add_module(f"stage{number}", ResidualBlock(before, maps, halves=number > 1))
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


@dataclass(frozen=True)
class Design:
    """How one network is made.

    Attributes:
        build: the network up to its features, a sequence whose parts are its stages.
        smallest: pixels a side that it needs at least.
    """

    build: Callable[[Options], nn.Sequential]
    smallest: Callable[[Options], int]


def mlp(_options: Options) -> nn.Sequential:
    """The fully connected network of section 1: pixels are features, its layers are the head's."""
    network = nn.Sequential()
    network.add_module("flatten", nn.Flatten())
    return network


DESIGNS: dict[str, Design] = {
    "mlp": Design(mlp, lambda _: 1),
    "report_cnn": Design(report_cnn, smallest_report_cnn_image),
    "residual": Design(cnn, smallest_cnn_image),
}
