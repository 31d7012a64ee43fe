"""What the weights of a network are like after an epoch: a small histogram of each layer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

BUCKETS = 20


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers in buckets of equal width from `low` to `high`.

    Attributes:
        counts: of each bucket.
        total, squares: the sum of the numbers, and of their squares.
    """

    low: float
    high: float
    counts: list[int]
    total: float
    squares: float

    @classmethod
    def of(cls, numbers: torch.Tensor) -> "Histogram":
        """The histogram of a tensor.

        >>> Histogram.of(torch.tensor([0.0, 1.0, 1.0])).counts[-1]
        2
        """
        exact = numbers.detach().double().flatten()
        low, high = exact.min().item(), exact.max().item()
        counts = torch.histc(exact, BUCKETS, low, high if high > low else low + 1)
        total, squares = exact.sum().item(), exact.square().sum().item()
        return cls(low, high, counts.long().tolist(), total, squares)


def histograms(network: nn.Module) -> dict[str, dict[str, Any]]:
    """The histogram of every matrix and kernel of a network, as plain values by its name."""
    found = ((n, p) for n, p in network.named_parameters() if p.dim() > 1)
    return {name: as_plain(Histogram.of(parameter)) for name, parameter in found}


def as_plain(histogram: Histogram) -> dict[str, Any]:
    """As the journal keeps it."""
    return {name: getattr(histogram, name) for name in Histogram.__slots__}
