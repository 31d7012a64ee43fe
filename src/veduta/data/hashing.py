"""Images that look alike, found by short fingerprints and without comparing all pairs.

The fingerprint is the perceptual hash of C. Zauner, "Implementation and Benchmarking of Perceptual
Image Hash Functions" (2010): which of the lowest frequencies of a small grey image are above their
median. The search cuts fingerprints into bands: where two differ in at most d bits, at least one of
d + 1 bands is the same (M. Norouzi et al., "Fast Search in Hamming Space with Multi-Index Hashing",
CVPR 2012), so only fingerprints that share a band are compared, and none is missed.

Frames of a film all look alike: each image keeps its nearest others alone, and what is compared
with it is bounded, so that memory and time grow with the images and not with their square.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import final

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels of the grey image
BITS = 64
MOST = 8  # others that an image is paired with, the nearest first
REACH = (
    1024  # others that an image is compared with in a band; twice those that chance makes, if more
)
FREE = 1000  # the rank of a place that nobody holds: behind all others

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.intp]
Pairs = NDArray[np.intp]
"""(pairs, 3): number of one, of the other, and in how many bits they differ."""

Rank = Callable[[Numbers, Numbers], Numbers]
"""What stands before what, of pairs of images: 0 before 1; a negative number is no pair."""

Agree = Callable[[Numbers, Numbers], NDArray[np.bool_]]
"""Which pairs of images, close by their hashes, are close indeed."""


def _lowest() -> NDArray[np.intp]:
    """(BITS, 2): down and across, the lowest frequencies, the mean apart."""
    down, across = np.indices((SIDE, SIDE)).reshape(2, -1)
    first = np.lexsort((down, down + across))[1 : BITS + 1]
    return np.stack([down[first], across[first]], axis=1)


def _cosines(count: int) -> NDArray[np.float32]:
    """(count, SIDE): the first rows of the discrete cosine transform, type 2."""
    frequency, place = np.arange(count)[:, None], np.arange(SIDE)
    return np.cos(np.pi / SIDE * frequency * (place + 0.5)).astype(np.float32)


LOWEST = _lowest()
COSINES = _cosines(int(LOWEST.max()) + 1)


def perceptual_hashes(greys: NDArray[np.uint8]) -> Hashes:
    """64 bits an image that change little with size, compression, brightness and contrast.

    Args:
        greys: (n, height, width). Of a flat image the bits are noise: compare no such.

    Returns:
        (n,).

    >>> ramp = np.tile(np.arange(0, 128, 4, dtype=np.uint8), (32, 1))
    >>> first, second = perceptual_hashes(np.stack([ramp, ramp + 50]))
    >>> bool(first == second)
    True
    """
    down, across = (COSINES @ averages(side, SIDE) for side in greys.shape[1:])
    table = np.matmul(down, greys.astype(np.float32) @ across.T)
    table = np.round(  # a frequency that is not there is 0, not what rounding left of it
        table[:, LOWEST[:, 0], LOWEST[:, 1]]
    )
    bits = np.packbits(table > np.median(table, axis=1, keepdims=True), axis=1)
    return np.frombuffer(bits.tobytes(), ">u8").astype(np.uint64)


@cache
def averages(side: int, cells: int) -> NDArray[np.float32]:
    """(cells, side): the mean of each of so many equal parts of a side, pixels that are cut too.

    >>> averages(3, 2).tolist()
    [[0.6666666865348816, 0.3333333432674408, 0.0], [0.0, 0.3333333432674408, 0.6666666865348816]]
    """
    edges, pixels = np.arange(cells + 1)[:, None] * side / cells, np.arange(side)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return (shared.clip(0) * cells / side).astype(np.float32)


def alike(
    hashes: Hashes,
    distance: int,
    *,
    most: int = MOST,
    rank: Rank | None = None,
    agree: Agree | None = None,
) -> tuple[Pairs, Numbers]:
    """Pairs of hashes that differ in at most `distance` bits, each once, smaller number first.

    Args:
        hashes: (N,), in an order that is part of the data: it decides between equals.
        distance: In bits.
        most: Others that an image keeps: the nearest, by rank and then by bits. A pair is listed
            where one of its two images keeps it, so there are at most `most` * N.
        rank: Which pairs come first whatever their distance; asked of all that are close.
        agree: Asked of those that would be kept.

    Returns:
        The pairs, and to how many others each image is as close, besides those listed:
        nothing but 0 where no image has more than `most`.

    >>> pairs, more = alike(np.array([0b0000, 0b0111, 0b1111, 0b0111], np.uint64), 1)
    >>> pairs.tolist(), more.tolist()
    ([[1, 2, 1], [1, 3, 0], [2, 3, 1]], [0, 0, 0, 0])
    """
    nearest = _Nearest(len(hashes), most)
    more = np.zeros(len(hashes), np.intp)
    for pairs in _close(hashes, distance):
        if rank is not None:
            pairs[2] += (BITS + 1) * rank(pairs[0], pairs[1])
        close = pairs[:, pairs[2] >= 0]
        wanted = nearest.open_to(close[0], close[2]) | nearest.open_to(close[1], close[2])
        if agree is not None and wanted.any():
            denied = np.flatnonzero(wanted)[~agree(*close[:2, wanted])]
            close, wanted = np.delete(close, denied, axis=1), np.delete(wanted, denied)
        one, other, ranks = close[:, wanted]
        nearest.keep(one, other, ranks)
        nearest.keep(other, one, ranks)
        more[close[0]] += 1  # no image is twice on one side
        more[close[1]] += 1
    left, right = nearest.pairs()
    more -= np.bincount(np.concatenate([left, right]), minlength=len(hashes))
    apart = np.bitwise_count(hashes[left] ^ hashes[right]).astype(np.intp)
    return np.stack([left, right, apart], axis=1), more


@final
class _Nearest:
    """The few that each of `count` images keeps, of all that it is offered."""

    def __init__(self, count: int, most: int) -> None:
        self._others = np.zeros((count, most), np.int32)
        self._ranks = np.full((count, most), FREE, np.int16)
        self._worst = np.full(count, FREE, np.int16)

    def open_to(self, images: Numbers, ranks: Numbers) -> NDArray[np.bool_]:
        """Which of these images have a place for a neighbour of such a rank."""
        return ranks < self._worst[images]

    def keep(self, images: Numbers, others: Numbers, ranks: Numbers) -> None:
        """Offer each image, named once at most, another one."""
        fits = self.open_to(images, ranks)
        images = images[fits]
        place = self._ranks[images].argmax(axis=1)  # the first that is worst, or free
        self._others[images, place] = others[fits]
        self._ranks[images, place] = ranks[fits]
        self._worst[images] = self._ranks[images].max(axis=1)

    def pairs(self) -> NDArray[np.intp]:
        """(2, pairs): what is kept, the smaller number first, each pair once, sorted."""
        images, place = np.nonzero(self._ranks < FREE)
        both = np.sort(np.stack([images, self._others[images, place].astype(np.intp)]), axis=0)
        found: NDArray[np.intp] = np.unique(both, axis=1) if both.size else both
        return found


def _bands(count: int) -> Iterator[tuple[int, int]]:
    """(lowest bit, mask) of each of `count` bands, as equal as can be."""
    edges = [round(BITS * place / count) for place in range(count + 1)]
    for low, high in pairwise(edges):
        yield low, (1 << (high - low)) - 1


def _close(hashes: Hashes, distance: int) -> Iterator[Numbers]:
    """(3, pairs): one, other, bits; each close pair once, and no image twice on one side of a part.

    Sorted by a band and then by the whole hash, its sharers stand side by side: each is compared
    with its next neighbour, then with the one after, until no neighbour so far away shares the
    band any more, or the reach ends. A pair belongs to the first band that it shares.
    """
    bands = list(_bands(distance + 1))
    reach = max(REACH, 2 * len(hashes) >> (BITS // (distance + 1)))
    for number, band in enumerate(bands):
        key = _part(hashes, band)
        order = np.lexsort((hashes, key))
        key, value = key[order], hashes[order]
        here = np.arange(len(order))
        for gap in range(1, reach + 1):
            here = here[: np.searchsorted(here, len(order) - gap)]
            here = here[key[here] == key[here + gap]]
            if not len(here):
                break
            differ = value[here] ^ value[here + gap]
            bits = np.bitwise_count(differ)
            close = np.flatnonzero(bits <= distance)
            for earlier in bands[:number]:
                close = close[_part(differ[close], earlier) != 0]
            if len(close):
                place = here[close]
                yield np.stack([order[place], order[place + gap], bits[close].astype(np.intp)])


def _part(hashes: Hashes, band: tuple[int, int]) -> Hashes:
    """The bits of a band."""
    low, mask = band
    part: Hashes = (hashes >> np.uint64(low)) & np.uint64(mask)
    return part
