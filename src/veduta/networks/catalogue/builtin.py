"""The networks that Veduta defines: report_cnn, cnn and mlp."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from veduta.networks.catalogue.model import Options

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "arctan": torch.arctan,
    "elu": nn.functional.elu,
    "gelu": nn.functional.gelu,
    "leaky_relu": nn.functional.leaky_relu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


# report_cnn

KERNEL_SIZE, POOL_SIZE = 5, 3


@final
class L2Pool(nn.Module):
    r"""Equation 31b: z_{i,j} = \sqrt{\sum_{n=1}^p \sum_{m=1}^p z_{i+n-1,\, j+m-1}^2}.

    If all inputs of a region are zero, the derivative is 0, as in `foundations.pooling`.
    """

    def __init__(self, p: int) -> None:
        super().__init__()
        self.p = p

    def forward(self, z: Tensor) -> Tensor:
        """Pool maps z (B, maps, H, W) to (B, maps, H / p, W / p)."""
        squares = nn.functional.avg_pool2d(z * z, self.p) * self.p**2
        zero = squares == 0
        return torch.where(zero, 0.0, torch.where(zero, 1.0, squares).sqrt())


@final
class Convolution(nn.Conv2d):
    """A convolution whose bias may be untied: one per position of each map (equation 30).

    Args:
        channels: number of input channels.
        maps: number of output maps.
        size: side length of the output maps, for an untied bias; None for a tied one.
    """

    def __init__(self, channels: int, maps: int, size: int | None) -> None:
        super().__init__(channels, maps, KERNEL_SIZE)
        self.untied = size is not None
        if size is not None:
            self.bias = nn.Parameter(torch.zeros(maps, size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Compute maps z (B, maps, H - 4, W - 4)."""
        if self.bias is None or not self.untied:
            return super().forward(x)
        return nn.functional.conv2d(x, self.weight) + self.bias


@final
class Activation(nn.Module):
    """An activation function as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, z: Tensor) -> Tensor:
        """Compute psi(z)."""
        return ACTIVATIONS[self.name](z)


POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d, "l2": L2Pool}


@final
class ReportBlock(nn.Sequential):
    """A convolution of the report with batch normalization, activation and pooling.

    Attributes:
        untrained_parameters: names of parameters that are not trained: a tied bias before batch
            normalization, which removes it (as in `networks.heads.HeadNetwork`).
    """

    def __init__(self, channels: int, maps: int, *, size: int, options: Options) -> None:
        """Build the block; `size` is the side length of the maps of its convolution."""
        norm = {"norm": nn.BatchNorm2d(maps)} if options.batch_norm else {}
        activation = {"activation": Activation(options.activation)}
        middle = {**norm, **activation} if options.norm_first else {**activation, **norm}
        convolution = Convolution(channels, maps, size if options.untied_bias else None)
        super().__init__()
        self.add_module("convolution", convolution)
        for name, part in middle.items():
            self.add_module(name, part)
        self.add_module("pool", POOLINGS[options.pooling](POOL_SIZE))
        is_normalized = bool(norm) and options.norm_first and not options.untied_bias
        self.untrained_parameters = ("convolution.bias",) if is_normalized else ()


def find_smallest_report_cnn_image(options: Options) -> int:
    """Return the side length in pixels for which the last pooling gives one position.

    >>> find_smallest_report_cnn_image(Options(image_size=150, channels=(64, 32, 16)))
    79
    """
    size = 1
    for _ in options.channels:
        size = POOL_SIZE * size + KERNEL_SIZE - 1
    return size


def build_report_cnn(options: Options) -> nn.Sequential:
    """Build the network from normalized images (B, 3, S, S) to features (B, features)."""
    network = nn.Sequential()
    channels, size = 3, options.image_size
    for number, maps in enumerate(options.channels, start=1):
        size -= KERNEL_SIZE - 1
        block = ReportBlock(channels, maps, size=size, options=options)
        network.add_module(f"block{number}", block)
        channels, size = maps, size // POOL_SIZE
    network.add_module("flatten", nn.Flatten())
    return network


# cnn

STEM_SIZE = 4  # side length in pixels of the squares that the stem moves into channels


def build_normalized_convolution(channels: int, maps: int, *, stride: int = 1) -> list[nn.Module]:
    """Build a 3 x 3 convolution and its batch normalization."""
    convolution = nn.Conv2d(channels, maps, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(maps)]


@final
class ResidualBlock(nn.Module):
    """A basic residual block: the sum of a shortcut of x and two convolutions of x.

    If the block halves the spatial size, the shortcut is an average over 2 x 2 positions and a
    1 x 1 convolution to the new number of maps, so that no position is ignored (He et al. 2019,
    arXiv 1812.01187, ResNet-D).

    Attributes:
        zero_initialized: names of parameters that start at 0: the scale of the last batch
            normalization, so that the block starts as its shortcut (Goyal et al. 2017, arXiv
            1706.02677).
    """

    zero_initialized = ("conv2.1.weight",)

    def __init__(self, channels: int, maps: int, *, halves: bool = False) -> None:
        super().__init__()
        first = build_normalized_convolution(channels, maps, stride=2 if halves else 1)
        self.conv1 = nn.Sequential(*first, nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(*build_normalized_convolution(maps, maps))
        self.shortcut: nn.Module = nn.Identity()
        if halves:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(2, ceil_mode=True),
                nn.Conv2d(channels, maps, 1, bias=False),
                nn.BatchNorm2d(maps),
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Compute maps (B, maps, H, W) of x (B, channels, H, W); H and W are halved, rounded up."""
        maps: Tensor = self.activation(self.conv2(self.conv1(x)) + self.shortcut(x))
        return maps


def find_smallest_cnn_image(_options: Options) -> int:
    """Return the smallest side length in pixels.

    >>> find_smallest_cnn_image(Options(image_size=96))
    8
    """
    return 2 * STEM_SIZE


def build_cnn(options: Options) -> nn.Sequential:
    """Build the network from normalized images (B, 3, S, S) to features (B, last channels).

    The stages are `stem`, `stage1` and so on, one for each of `options.channels`, and `pool`.
    """
    channels = options.channels[0]
    convolution = build_normalized_convolution(3 * STEM_SIZE**2, channels)
    stem = [SpaceToDepth(STEM_SIZE), *convolution, nn.ReLU(inplace=True)]
    network = nn.Sequential()
    network.add_module("stem", nn.Sequential(*stem))
    for number, maps in enumerate(options.channels, start=1):
        network.add_module(f"stage{number}", ResidualBlock(channels, maps, halves=number > 1))
        channels = maps
    network.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return network


@final
class SpaceToDepth(nn.Module):
    """Move each square of pixels into the channels of one position.

    Pixels at the right and bottom that do not fill a square are ignored.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C side^2, H / side, W / side) for x (B, C, H, W)."""
        height, width = (size - size % self.side for size in x.shape[2:])
        return nn.functional.pixel_unshuffle(x[:, :, :height, :width], self.side)


# mlp


def build_mlp(_options: Options) -> nn.Sequential:
    """Build the fully connected network of section 1: its features are pixels.

    Its layers are those of the head.
    """
    network = nn.Sequential()
    network.add_module("flatten", nn.Flatten())
    return network


@dataclass(frozen=True)
class Design:
    """How a built-in network is built.

    Attributes:
        build: builds the network up to its features, as a sequence of its stages.
        min_image_size: returns the smallest side length in pixels.
    """

    build: Callable[[Options], nn.Sequential]
    min_image_size: Callable[[Options], int]


DESIGNS: dict[str, Design] = {
    "mlp": Design(build_mlp, lambda _: 1),
    "report_cnn": Design(build_report_cnn, find_smallest_report_cnn_image),
    "residual": Design(build_cnn, find_smallest_cnn_image),
}
