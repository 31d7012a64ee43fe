"""Images that look alike, found by short fingerprints and without comparing all pairs.

The fingerprint is the perceptual hash of C. Zauner, "Implementation and Benchmarking of Perceptual
Image Hash Functions" (2010): which of the lowest frequencies of a small grey image are above their
median. The search cuts fingerprints into bands: where two differ in at most d bits, at least one of
d + 1 bands is the same (M. Norouzi et al., "Fast Search in Hamming Space with Multi-Index Hashing",
CVPR 2012), so only fingerprints that share a band are compared, and none is missed.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels of the grey image
BITS = 64
MOST = 10_000  # pairs of images listed for one pair of hashes; frames of a film would be millions

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.intp]
"""(pairs, 3): number of one, of the other, and in how many bits they differ."""


def _cosines() -> NDArray[np.float32]:
    """(frequencies, SIDE): rows of the discrete cosine transform, type 2."""
    frequency, place = np.arange(SIDE)[:, None], np.arange(SIDE)
    return np.cos(np.pi / SIDE * frequency * (place + 0.5)).astype(np.float32)


def _lowest() -> NDArray[np.intp]:
    """Places of the `BITS` lowest frequencies, the mean apart, in a table of all of them."""
    down, across = np.indices((SIDE, SIDE)).reshape(2, -1)
    return np.lexsort((down, down + across))[1 : BITS + 1]


COSINES, LOWEST = _cosines(), _lowest()


def perceptual_hash(grey: NDArray[np.uint8]) -> int:
    """64 bits that change little with size, compression, brightness and contrast.

    Args:
        grey: (SIDE, SIDE). Of a flat image the bits are noise: compare no such.

    >>> ramp = np.tile(np.arange(0, 128, 4, dtype=np.uint8), (32, 1))
    >>> perceptual_hash(ramp) == perceptual_hash(ramp + 50)
    True
    """
    table = (COSINES @ grey.astype(np.float32) @ COSINES.T).reshape(-1)[LOWEST]
    table = np.round(table)  # a frequency that is not there is 0, not what rounding left of it
    bits = np.packbits(table > np.median(table))
    return int.from_bytes(bits.tobytes(), "big")


def alike(hashes: Hashes, distance: int) -> Pairs:
    """Every pair of hashes that differ in at most `distance` bits, each once, smaller number first.

    Where so many images have the same two hashes that there are more than `MOST` pairs of them,
    each is paired with the first of the others alone: none is lost, and the list stays short.

    >>> alike(np.array([0b0000, 0b0111, 0b1111, 0b0111], np.uint64), 1).tolist()
    [[1, 2, 1], [1, 3, 0], [2, 3, 1]]
    """
    different, first, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(first, kind="stable"), np.cumsum(counts)[:-1])
    codes = [_in_band(different, band, distance) for band in _bands(distance + 1)]
    found = np.unique(np.concatenate(codes)) if len(different) else np.empty(0, np.int64)
    one, other = np.divmod(found, max(1, len(different)))
    pairs = [_crossed(members[i], members[j]) for i, j in zip(one, other, strict=True)]
    pairs += [_crossed(group, group) for group in members if len(group) > 1]
    if not pairs:
        return np.empty((0, 3), np.intp)
    left, right = np.sort(np.concatenate(pairs), axis=1).T
    apart = np.bitwise_count(hashes[left] ^ hashes[right]).astype(np.intp)
    return np.stack([left, right, apart], axis=1)[np.lexsort((right, left))]


def _bands(count: int) -> Iterator[tuple[int, int]]:
    """(lowest bit, mask) of each of `count` bands, as equal as can be."""
    edges = [round(BITS * place / count) for place in range(count + 1)]
    for low, high in pairwise(edges):
        yield low, (1 << (high - low)) - 1


def _in_band(different: Hashes, band: tuple[int, int], distance: int) -> NDArray[np.int64]:
    """Pairs of close hashes that share a band, as number of one * len + number of the other.

    Sorted by the band, its sharers stand side by side: each is compared with its next neighbour,
    then with the one after, until no neighbour so far away shares the band any more.
    """
    low, mask = band
    key = (different >> np.uint64(low)) & np.uint64(mask)
    order = np.argsort(key, kind="stable")
    key, value = key[order], different[order]
    found, here, gap = [np.empty(0, np.int64)], np.arange(len(order) - 1), 1
    while len(here):
        here = here[here + gap < len(order)]
        here = here[key[here] == key[here + gap]]
        close = here[np.bitwise_count(value[here] ^ value[here + gap]) <= distance]
        one, other = order[close], order[close + gap]  # stable: one < other
        found.append(one * len(order) + other)
        gap += 1
    return np.concatenate(found)


def _crossed(one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
    """(pairs, 2): each of one group with each of the other; inside one group, each pair once."""
    if len(one) * len(other) > MOST:
        with_first = np.stack([np.full(len(other), one[0]), other], axis=1)
        return with_first[1:] if one is other else with_first
    if one is other:
        i, j = np.triu_indices(len(one), 1)
        return np.stack([one[i], one[j]], axis=1)
    return np.stack([np.repeat(one, len(other)), np.tile(other, len(one))], axis=1)
