"""Training and validation examples: features, labels, and the keys of their random streams."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from veduta.augment.mixing import assign_partners, mix_images
from veduta.augment.views import Augmented
from veduta.data.row_store import Rows
from veduta.training.loss import Batch
from veduta.types import IndexArray, KeyArray

Table = Tensor | Rows
"""Features of N images, (N, ...): in memory, or on disk until rows are read."""

BatchSource = Callable[[IndexArray], Batch]
"""Returns the batch of the images at given indices."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Images as a network receives them, in canonical order.

    Attributes:
        features: features of the images without augmentation, (N, ...) float32; if no stage is
            frozen, their pixels, (N, S, S, 3) uint8.
        labels: (N,) int64.
        keys: (N,) key of each image, from its content.
        views: features (N, ...) of augmented views, if there are any.
        augment: names of the augmentations that are applied anew in each epoch; those that mix
            images are also applied to feature maps (N, C, H, W).
        seed: random seed of the augmentations.
    """

    features: Table
    labels: Tensor
    keys: KeyArray
    views: tuple[Table, ...] = ()
    augment: tuple[str, ...] = ()
    seed: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the features of one image."""
        return tuple(self.features.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which a network computes on the features."""
        dtype = _read_rows(self.features, np.arange(0)).dtype
        return dtype if dtype.is_floating_point else torch.float32

    def select(self, indices: IndexArray) -> "Examples":
        """Return the examples at `indices`, in that order."""
        return replace(
            self,
            features=_select_rows(self.features, indices),
            labels=self.labels[torch.from_numpy(indices)],
            keys=self.keys[indices],
            views=tuple(_select_rows(view, indices) for view in self.views),
        )

    def get_batch_source(self, epoch: int, *, view_epoch: int | None = None) -> BatchSource:
        """Return a function from indices to the batch of these images in an epoch.

        With K views, epoch e uses view e mod K, so with as many views as epochs each epoch has
        different augmentations. Pixels are augmented when a batch is requested; the result depends
        only on (seed, epoch, image). If images or their feature maps are mixed, the partner of an
        image depends on the epoch and on the set of images.

        Args:
            epoch: number of the epoch, from 1.
            view_epoch: epoch whose views and augmentations are used before images are mixed; None
                for `epoch`.
        """
        partners = assign_partners(self.keys, names=self.augment, seed=self.seed, epoch=epoch)
        load_view = partial(self._load_view, epoch if view_epoch is None else view_epoch)
        if partners is None:
            return lambda indices: Batch(load_view(indices), self._get_labels(indices))
        return partial(self._mix, epoch, load_view, partners)

    def _mix(
        self,
        epoch: int,
        load_view: Callable[[IndexArray], Tensor],
        partners: IndexArray,
        indices: IndexArray,
    ) -> Batch:
        """Mix the images at `indices` with their partners."""
        partner_indices = partners[indices]
        own, others = load_view(indices), load_view(partner_indices)
        channel_dim = 3 if self._are_pixels else 1
        mixed, fractions = mix_images(
            own.movedim(channel_dim, -1).numpy(),
            others.movedim(channel_dim, -1).numpy(),
            self.keys[indices],
            names=self.augment,
            seed=self.seed,
            epoch=epoch,
        )
        return Batch(
            torch.from_numpy(mixed).movedim(-1, channel_dim),
            self._get_labels(indices),
            self._get_labels(partner_indices),
            torch.from_numpy(fractions),
        )

    @property
    def _are_pixels(self) -> bool:
        """Whether the features are pixels because no stage is frozen."""
        return _read_rows(self.features, np.arange(0)).dtype == torch.uint8

    def _load_view(self, epoch: int, indices: IndexArray) -> Tensor:
        """Load the images at `indices` in the view of an epoch, before mixing."""
        table = self.views[epoch % len(self.views)] if self.views else self.features
        rows = _read_rows(table, indices)
        if not (self.augment and self._are_pixels):
            return rows
        view = Augmented(self.augment, self.seed, epoch)
        return torch.from_numpy(view.apply(rows.numpy(), self.keys[indices]))

    def _get_labels(self, indices: IndexArray) -> Tensor:
        return self.labels[torch.from_numpy(indices)]

    def iterate_parts(self, size: int) -> Iterator[Tensor]:
        """Yield the features of the images without augmentation, in order, `size` at a time."""
        return iterate_parts(self.features, size)


def iterate_parts(table: Table, size: int) -> Iterator[Tensor]:
    """Yield the rows of a table in order, `size` at a time.

    Rows on disk are read into one buffer, so a part must be used before the next one is requested.
    Allocating a new buffer for each part would fragment the heap.
    """
    starts = range(0, len(table), size)
    if isinstance(table, Tensor):
        yield from (table[start : start + size] for start in starts)
        return
    buffer = np.empty((min(size, len(table)), *table.shape[1:]), table.dtype)
    for start in starts:
        indices = np.arange(start, min(start + size, len(table)))
        yield torch.from_numpy(table.take(indices, out=buffer[: len(indices)]))


def _read_rows(table: Table, indices: IndexArray) -> Tensor:
    if isinstance(table, Tensor):
        return table[torch.from_numpy(indices)]
    return torch.from_numpy(table.take(indices))


def _select_rows(table: Table, indices: IndexArray) -> Table:
    """Select rows without reading those that are on disk."""
    if isinstance(table, Tensor):
        return table[torch.from_numpy(indices)]
    return table.select(indices)
