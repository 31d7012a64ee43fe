"""What a training works on: features, labels, and the keys that its random numbers hang on."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from veduta.runtime.streams import Keys


@dataclass(frozen=True, slots=True)
class Examples:
    """Images as the head sees them, in canonical order.

    features (N, D) float32, labels (N,) int64, keys (N,) one 64-bit number an image, from its
    content.
    """

    features: Tensor
    labels: Tensor
    keys: Keys

    def __len__(self) -> int:
        return len(self.labels)


def canonical_order(
    digests: list[str], labels: list[int]
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Indices that sort images by content, then label: the order of files and their names is gone.

    Images that are equal in both are copies, and may stand either way.
    """
    return np.lexsort((np.array(labels), np.array(digests)))


def concatenated(first: Examples, second: Examples) -> Examples:
    """Both, one after the other."""
    return Examples(
        torch.cat([first.features, second.features]),
        torch.cat([first.labels, second.labels]),
        np.concatenate([first.keys, second.keys]),
    )
