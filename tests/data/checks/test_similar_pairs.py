"""The search for similar hashes against a comparison of all pairs."""

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from veduta.data.checks.duplicates import MAX_NEIGHBORS, find_similar_pairs
from veduta.data.traits import BITS
from veduta.types import IndexArray, KeyArray


def compare_all_pairs(hashes: KeyArray, max_distance: int) -> list[list[int]]:
    values = [int(value) for value in hashes]
    return [
        [i, j, distance]
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (distance := (values[i] ^ values[j]).bit_count()) <= max_distance
    ]


def draw_hashes(seed: int, count: int, max_flips: int) -> KeyArray:
    """Return random hashes, and for each one copies with some bits flipped."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, count, dtype=np.uint64)
    copies = hashes[generator.integers(0, count, 3 * count)]
    for index in range(len(copies)):
        for bit in generator.choice(BITS, generator.integers(0, max_flips + 1), replace=False):
            copies[index] ^= np.uint64(1 << int(bit))
    return np.concatenate([hashes, copies])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(0, 9))
def test_exactly_the_close_pairs_are_found(seed: int, count: int, max_distance: int) -> None:
    hashes = draw_hashes(seed, count, max_distance + 1)
    pairs, further_counts = find_similar_pairs(hashes, max_distance, max_neighbors=len(hashes))
    assert pairs.tolist() == compare_all_pairs(hashes, max_distance)
    assert not further_counts.any()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 3))
def test_each_image_keeps_its_nearest_neighbors_and_counts_the_others(
    seed: int, count: int, max_neighbors: int
) -> None:
    hashes = draw_hashes(seed, count, 9)
    all_pairs = compare_all_pairs(hashes, 8)
    pairs, further_counts = find_similar_pairs(hashes, 8, max_neighbors=max_neighbors)
    kept_pairs = pairs.tolist()
    assert all(pair in all_pairs for pair in kept_pairs)
    for image in range(len(hashes)):
        distances = sorted(distance for i, j, distance in all_pairs if image in {i, j})
        kept_distances = sorted(distance for i, j, distance in kept_pairs if image in {i, j})
        assert kept_distances[:max_neighbors] == distances[:max_neighbors]
        assert further_counts[image] == len(distances) - len(kept_distances)


def test_rank_precedes_distance_and_unconfirmed_pairs_are_not_kept() -> None:
    hashes = np.array([0b0, 0b0, 0b1, 0b11, 0b111], np.uint64)

    def rank(left: IndexArray, right: IndexArray) -> IndexArray:
        ranks = np.where((left == 4) | (right == 4), 0, 1)
        return np.where((left == 0) & (right == 1), -1, ranks)

    pairs, further_counts = find_similar_pairs(hashes, 3, max_neighbors=1, rank=rank)
    assert pairs.tolist() == [[0, 4, 3], [1, 4, 3], [2, 4, 2], [3, 4, 1]]
    assert further_counts.tolist() == [2, 2, 3, 3, 0]
    pairs, _ = find_similar_pairs(
        hashes, 3, max_neighbors=1, rank=rank, confirm=lambda left, right: left + right != 5
    )
    assert pairs.tolist() == [[0, 4, 3], [1, 2, 1], [2, 4, 2], [3, 4, 1]]


def test_many_hashes_with_an_equal_band_are_found() -> None:
    hashes = np.arange(300, dtype=np.uint64)
    pairs, _ = find_similar_pairs(hashes, 2, max_neighbors=300)
    assert pairs.tolist() == compare_all_pairs(hashes, 2)


def test_no_hash_and_one_hash_have_no_pairs() -> None:
    assert find_similar_pairs(np.empty(0, np.uint64), 3)[0].shape == (0, 3)
    assert find_similar_pairs(np.ones(1, np.uint64), 3)[0].shape == (0, 3)


def test_memory_grows_with_the_frames_of_a_video_not_with_their_pairs() -> None:
    frames = np.full(1200, 7, np.uint64)
    frames[600:] ^= np.uint64(1) << (np.arange(600, dtype=np.uint64) % 8)
    tracemalloc.start()
    try:
        pairs, further_counts = find_similar_pairs(frames, 8)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2000 * len(frames)  # all pairs would be 17 MB
    assert len(pairs) <= MAX_NEIGHBORS * len(frames)
    assert further_counts.all()
    assert set(pairs[:, :2].ravel().tolist()) == set(range(len(frames)))
