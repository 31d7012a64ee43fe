"""What a training works on: features, labels, and the keys that its random numbers hang on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.data.rows import Rows
from veduta.runtime.streams import Keys

Table = Tensor | Rows
"""Features of N images, (N, ...): in memory, or on the disk until they are taken."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Images as the head sees them, in canonical order.

    features (N, ...) float32 of the plain image, labels (N,) int64, keys (N,) one 64-bit number an
    image, from its content; views: features (N, ...) of augmented images, where there are any.
    """

    features: Table
    labels: Tensor
    keys: Keys
    views: tuple[Table, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the features of one image."""
        return tuple(self.features.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        return _rows(self.features, np.arange(0)).dtype

    def among(self, places: NDArray[np.intp]) -> "Examples":
        """The images at `places`, in that order."""
        return Examples(
            _among(self.features, places),
            self.labels[torch.from_numpy(places)],
            self.keys[places],
            tuple(_among(view, places) for view in self.views),
        )

    def batch(self, epoch: int, chosen: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """What an epoch (from 1) trains on: features and labels of the images at `chosen`.

        Of K views epoch e sees view e mod K: with as many views as epochs, every epoch augments
        afresh.
        """
        table = self.views[epoch % len(self.views)] if self.views else self.features
        return _rows(table, chosen), self.labels[torch.from_numpy(chosen)]

    def parts(self, size: int) -> Iterator[Tensor]:
        """Features of the plain images, `size` images at a time, in order."""
        return parts(self.features, size)


def parts(table: Table, size: int) -> Iterator[Tensor]:
    """The rows of a table, `size` at a time, in order; each must be used before the next is taken.

    Rows from the disk come in the same memory every time: blocks as large as these, taken and given
    back again and again, would tear holes into the heap.
    """
    starts = range(0, len(table), size)
    if isinstance(table, Tensor):
        yield from (table[start : start + size] for start in starts)
        return
    room = np.empty((min(size, len(table)), *table.shape[1:]), table.dtype)
    for start in starts:
        chosen = np.arange(start, min(start + size, len(table)))
        yield torch.from_numpy(table.take(chosen, out=room[: len(chosen)]))


def _rows(table: Table, chosen: NDArray[np.intp]) -> Tensor:
    if isinstance(table, Tensor):
        return table[torch.from_numpy(chosen)]
    return torch.from_numpy(table.take(chosen))


def _among(table: Table, places: NDArray[np.intp]) -> Table:
    """Rows on the disk stay there."""
    if isinstance(table, Tensor):
        return table[torch.from_numpy(places)]
    return table.among(places)


def canonical_order(
    digests: list[str], labels: list[int]
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Indices that sort images by content, then label: the order of files and their names is gone.

    Images that are equal in both are copies, and may stand either way.
    """
    return np.lexsort((np.array(labels), np.array(digests, dtype=np.bytes_)))
