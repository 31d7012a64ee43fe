"""What a training works on: features, labels, and the keys that its random numbers hang on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.augment.mixing import assign_partners, mix_images
from veduta.augment.views import Augmented
from veduta.data.row_store import Rows
from veduta.runtime.streams import Keys
from veduta.training.loss import Batch

Table = Tensor | Rows
"""Features of N images, (N, ...): in memory, or on the disk until they are taken."""

See = Callable[[NDArray[np.intp]], Batch]
"""What an epoch shows of the images at some places."""

Look = Callable[[NDArray[np.intp]], Tensor]
"""What images at some places look like, (n, ...)."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Images as a network sees them, in canonical order.

    Attributes:
        features: (N, ...) float32 of the plain image; where nothing is frozen its pixels,
            (N, S, S, 3) uint8.
        labels: (N,) int64.
        keys: (N,) one 64-bit number an image, from its content.
        views: features (N, ...) of augmented images, where there are any.
        augment: what changes the images afresh in every epoch, by name; those that mix two of them
            mix maps (N, C, S, S) too.
        seed: of these changes.
    """

    features: Table
    labels: Tensor
    keys: Keys
    views: tuple[Table, ...] = ()
    augment: tuple[str, ...] = ()
    seed: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the features of one image."""
        return tuple(self.features.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """In which a network computes on the features."""
        found = _rows(self.features, np.arange(0)).dtype
        return found if found.is_floating_point else torch.float32

    def among(self, places: NDArray[np.intp]) -> "Examples":
        """The images at `places`, in that order."""
        return replace(
            self,
            features=_among(self.features, places),
            labels=self.labels[torch.from_numpy(places)],
            keys=self.keys[places],
            views=tuple(_among(view, places) for view in self.views),
        )

    def seen_in(self, epoch: int, *, like: int | None = None) -> See:
        """What an epoch (from 1) trains on, for the images at places that it is asked for.

        `like` another epoch images are shown, where that is given, before any are mixed.

        Of K views epoch e sees view e mod K: with as many views as epochs, every epoch augments
        afresh. Pixels are augmented when they are asked for, in a way that depends on (seed,
        epoch, image) alone; where images or their maps are mixed, who is mixed with whom depends
        on the epoch and on which images there are.
        """
        pairs = assign_partners(self.keys, names=self.augment, seed=self.seed, epoch=epoch)
        view = partial(self._view, epoch if like is None else like)
        if pairs is None:
            return lambda chosen: Batch(view(chosen), self._labels(chosen))
        return partial(self._mixed, epoch, view, pairs)

    def _mixed(
        self, epoch: int, view: Look, pairs: NDArray[np.intp], chosen: NDArray[np.intp]
    ) -> Batch:
        """The images at `chosen` mixed with those that `pairs` give them."""
        others = pairs[chosen]
        own, theirs = view(chosen), view(others)
        channels = 3 if self._pixels else 1
        mixed, shares = mix_images(
            own.movedim(channels, -1).numpy(),
            theirs.movedim(channels, -1).numpy(),
            self.keys[chosen],
            names=self.augment,
            seed=self.seed,
            epoch=epoch,
        )
        return Batch(
            torch.from_numpy(mixed).movedim(-1, channels),
            self._labels(chosen),
            self._labels(others),
            torch.from_numpy(shares),
        )

    @property
    def _pixels(self) -> bool:
        """Whether the features are pixels, since nothing is frozen."""
        return _rows(self.features, np.arange(0)).dtype == torch.uint8

    def _view(self, epoch: int, chosen: NDArray[np.intp]) -> Tensor:
        """What an epoch shows of the images at places, before any are mixed."""
        table = self.views[epoch % len(self.views)] if self.views else self.features
        found = _rows(table, chosen)
        if not (self.augment and self._pixels):
            return found
        augmented = Augmented(self.augment, self.seed, epoch)
        return torch.from_numpy(augmented.apply(found.numpy(), self.keys[chosen]))

    def _labels(self, chosen: NDArray[np.intp]) -> Tensor:
        return self.labels[torch.from_numpy(chosen)]

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
