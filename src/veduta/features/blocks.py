"""Pixels for an engine, a block ahead of it: while it works on one, the next view is made."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from veduta.augment.views import View
from veduta.data.rows import Rows
from veduta.runtime.streams import sample_keys

Block = tuple[slice, NDArray[np.uint8]]
"""Which of the images, and their pixels (n, S, S, 3)."""


def blocks(
    pixels: Rows, places: Sequence[int], *, digests: Sequence[str], view: View, size: int
) -> Iterator[Block]:
    """The view of the pixels at `places`, `size` images at a time; memory holds two blocks.

    Args:
        pixels: uint8 (images, S, S, 3).
        places: which of them, in the order of the blocks.
        digests: one a place, of the image's content.
        view: what is shown of each.
        size: images a block; it does not change what is shown.
    """

    def block(start: int) -> Block:
        part = slice(start, min(start + size, len(places)))
        taken = pixels.take(np.asarray(places[part]))
        return part, view.apply(taken, sample_keys(digests[part]))

    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for start in range(0, len(places), size):
            now, ahead = ahead, pool.submit(block, start)
            if now:
                yield now.result()
        if ahead:
            yield ahead.result()
