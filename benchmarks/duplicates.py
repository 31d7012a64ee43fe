"""Measure the search for similar images among 100,000 perceptual hashes.

    python -m benchmarks.duplicates [--images N] [--pairs N] [--distance BITS]

The hashes are random, except planted pairs at every distance up to the given one, which must all be
found. The pairs of some hashes are compared with those of a brute-force search.
"""

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray

from veduta.data.checks.duplicates import MAX_DISTANCE, find_similar_pairs
from veduta.data.traits import BITS

COMPARED = 2_000  # hashes that are compared with all others


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=5_000)
    parser.add_argument("--distance", type=int, default=MAX_DISTANCE)
    options = parser.parse_args()
    hashes, planted = draw_hashes(options.images, options.pairs, options.distance)
    start = time.perf_counter()
    similar, more = find_similar_pairs(hashes, options.distance)
    seconds = time.perf_counter() - start
    pairs = {(i, j) for i, j, _ in similar.tolist()}
    expected = compare_all(hashes, options.distance)
    compared = {pair for pair in pairs if pair[0] < COMPARED}
    print(f"{options.images:,} hashes, at most {options.distance} of {BITS} bits apart")
    print(f"seconds              {seconds:.2f}")
    print(f"pairs                {len(pairs):,}, and {more.sum() // 2:,} more")
    print(f"planted, found       {len(planted & pairs):,} of {len(planted):,}")
    print(f"compared with all    {len(expected):,} pairs, {len(expected ^ compared)} differ")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory          {peak:,.0f} MB")


def draw_hashes(
    images: int, pairs: int, distance: int
) -> tuple[NDArray[np.uint64], set[tuple[int, int]]]:
    """Draw random hashes, the last `pairs` of them similar to others (up to `distance` bits)."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, images, dtype=np.uint64)
    origins = generator.choice(images - pairs, pairs, replace=False)
    for index, origin in zip(range(images - pairs, images), origins, strict=True):
        bits = generator.choice(BITS, index % (distance + 1), replace=False)
        flips = sum(1 << int(bit) for bit in bits)
        hashes[index] = hashes[origin] ^ np.uint64(flips)
    copies = range(images - pairs, images)
    return hashes, {(int(o), copy) for o, copy in zip(origins, copies, strict=True)}


def compare_all(hashes: NDArray[np.uint64], distance: int) -> set[tuple[int, int]]:
    """Return every similar pair whose first hash is one of the first `COMPARED`."""
    pairs = set()
    for i in range(min(COMPARED, len(hashes))):
        others = np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= distance
        pairs |= {(i, i + 1 + int(j)) for j in np.flatnonzero(others)}
    return pairs


if __name__ == "__main__":
    main()
