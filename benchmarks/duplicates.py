"""How long 100,000 perceptual hashes take to be searched for images that look alike.

    python -m benchmarks.duplicates [--images N] [--pairs N] [--distance BITS]

Random hashes, among them planted pairs at every distance up to the one asked for, which must all be
found; and every pair that a comparison of all hashes with a share of them finds, no more, no fewer.
"""

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray

from veduta.data.checks.duplicates import DISTANCE
from veduta.data.hashing import BITS, alike

COMPARED = 2_000  # hashes that are compared with all


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=5_000)
    parser.add_argument("--distance", type=int, default=DISTANCE)
    chosen = parser.parse_args()
    hashes, planted = drawn(chosen.images, chosen.pairs, chosen.distance)
    start = time.perf_counter()
    found, more = alike(hashes, chosen.distance)
    seconds = time.perf_counter() - start
    pairs = {(i, j) for i, j, _ in found.tolist()}
    expected = by_comparison(hashes, chosen.distance)
    compared = {pair for pair in pairs if pair[0] < COMPARED}
    print(f"{chosen.images:,} hashes, at most {chosen.distance} of {BITS} bits apart")
    print(f"seconds              {seconds:.2f}")
    print(f"pairs                {len(pairs):,}, and {more.sum() // 2:,} more")
    print(f"planted, found       {len(planted & pairs):,} of {len(planted):,}")
    print(f"compared with all    {len(expected):,} pairs, {len(expected ^ compared)} differ")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory          {peak:,.0f} MB")


def drawn(
    images: int, pairs: int, distance: int
) -> tuple[NDArray[np.uint64], set[tuple[int, int]]]:
    """Random hashes, the last `pairs` of which are others with up to `distance` bits changed."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, images, dtype=np.uint64)
    origins = generator.choice(images - pairs, pairs, replace=False)
    for place, origin in zip(range(images - pairs, images), origins, strict=True):
        bits = generator.choice(BITS, place % (distance + 1), replace=False)
        flips = sum(1 << int(bit) for bit in bits)
        hashes[place] = hashes[origin] ^ np.uint64(flips)
    places = range(images - pairs, images)
    return hashes, {(int(o), place) for o, place in zip(origins, places, strict=True)}


def by_comparison(hashes: NDArray[np.uint64], distance: int) -> set[tuple[int, int]]:
    """Every close pair whose first hash is one of the first `COMPARED`."""
    found = set()
    for i in range(min(COMPARED, len(hashes))):
        others = np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= distance
        found |= {(i, i + 1 + int(j)) for j in np.flatnonzero(others)}
    return found


if __name__ == "__main__":
    main()
