r"""The report's own convolutional network (sections 2 and 5), as its author's notebooks have it.

Each block is a 5 x 5 convolution without padding, batch norm, the activation (or these two the
other way round), and 3 x 3 pooling whose regions touch: 150 px -> 146 -> 48 -> 44 -> 14 -> 10 -> 3.
The maps of the last block, flattened, are the features; the dense layers behind them are the head.
"""

from typing import final

import torch
from torch import Tensor, nn

from veduta.models.heads import ACTIVATIONS
from veduta.models.model import Options

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
class Block(nn.Sequential):
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


def smallest(options: Options) -> int:
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
        block = Block(channels, maps, size=size, options=options)
        network.add_module(f"block{number}", block)
        channels, size = maps, size // POOL
    network.add_module("flatten", nn.Flatten())
    return network
