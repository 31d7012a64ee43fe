"""Perceptual hashes against SciPy's transform; the search against a comparison of all pairs."""

import tracemalloc

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from veduta.data.hashing import BITS, MOST, SIDE, alike, averages, perceptual_hashes


def all_pairs(hashes: NDArray[np.uint64], distance: int) -> list[list[int]]:
    numbers = [int(one) for one in hashes]
    return [
        [i, j, bits]
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if (bits := (numbers[i] ^ numbers[j]).bit_count()) <= distance
    ]


def drawn(seed: int, count: int, changed: int) -> NDArray[np.uint64]:
    """Random hashes, and for each one copies with some bits changed."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, count, dtype=np.uint64)
    copies = hashes[generator.integers(0, count, 3 * count)]
    for number in range(len(copies)):
        for bit in generator.choice(BITS, generator.integers(0, changed + 1), replace=False):
            copies[number] ^= np.uint64(1 << int(bit))
    return np.concatenate([hashes, copies])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(0, 9))
def test_every_close_pair_is_found_and_no_other(seed: int, count: int, distance: int) -> None:
    hashes = drawn(seed, count, distance + 1)
    pairs, more = alike(hashes, distance, most=len(hashes))
    assert pairs.tolist() == all_pairs(hashes, distance)
    assert not more.any()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 3))
def test_each_image_keeps_its_nearest_and_the_others_are_counted(
    seed: int, count: int, most: int
) -> None:
    hashes = drawn(seed, count, 9)
    every = all_pairs(hashes, 8)
    pairs, more = alike(hashes, 8, most=most)
    listed = pairs.tolist()
    assert all(pair in every for pair in listed)
    for image in range(len(hashes)):
        own = sorted(bits for i, j, bits in every if image in {i, j})
        named = sorted(bits for i, j, bits in listed if image in {i, j})
        assert named[:most] == own[:most]
        assert more[image] == len(own) - len(named)


def test_what_ranks_first_is_kept_before_what_is_nearer_and_what_is_denied_is_not() -> None:
    hashes = np.array([0b0, 0b0, 0b1, 0b11, 0b111], np.uint64)

    def rank(one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
        found = np.where((one == 4) | (other == 4), 0, 1)
        return np.where((one == 0) & (other == 1), -1, found)

    pairs, more = alike(hashes, 3, most=1, rank=rank)
    assert pairs.tolist() == [[0, 4, 3], [1, 4, 3], [2, 4, 2], [3, 4, 1]]
    assert more.tolist() == [2, 2, 3, 3, 0]
    pairs, more = alike(hashes, 3, most=1, rank=rank, agree=lambda one, other: one + other != 5)
    assert pairs.tolist() == [[0, 4, 3], [1, 2, 1], [2, 4, 2], [3, 4, 1]]


def test_hashes_that_crowd_in_one_band_are_found() -> None:
    hashes = np.arange(300, dtype=np.uint64)
    assert alike(hashes, 2, most=300)[0].tolist() == all_pairs(hashes, 2)


def test_nothing_and_one() -> None:
    assert alike(np.empty(0, np.uint64), 3)[0].shape == (0, 3)
    assert alike(np.ones(1, np.uint64), 3)[0].shape == (0, 3)


def test_a_film_takes_memory_by_its_frames_and_not_by_their_pairs() -> None:
    still = np.full(1200, 7, np.uint64)
    still[600:] ^= np.uint64(1) << (np.arange(600, dtype=np.uint64) % 8)
    tracemalloc.start()
    try:
        pairs, more = alike(still, 8)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2000 * len(still)  # all pairs would be 17 MB
    assert len(pairs) <= MOST * len(still)
    assert more.all()
    assert set(pairs[:, :2].ravel().tolist()) == set(range(len(still)))


def hashed_alone(grey: np.ndarray) -> int:
    return int(perceptual_hashes(grey[None])[0])


def test_bits_say_which_of_the_lowest_frequencies_are_above_their_median() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    table = np.round(scipy.fft.dctn(grey.astype(float), type=2) / 4)  # SciPy takes sums twice
    places = sorted(np.ndindex(SIDE, SIDE), key=lambda p: (p[0] + p[1], p[0]))[1 : BITS + 1]
    lowest = np.array([table[place] for place in places])
    expected = int("".join("1" if value > np.median(lowest) else "0" for value in lowest), 2)
    assert hashed_alone(grey) == expected


def test_brightness_contrast_and_noise_change_little() -> None:
    generator = np.random.default_rng(1)
    small = generator.integers(40, 180, (6, 6)).astype(float)
    grey = np.kron(small, np.ones((6, 6)))[:SIDE, :SIDE]
    other = np.kron(generator.integers(40, 180, (6, 6)).astype(float), np.ones((6, 6)))
    hashed = hashed_alone(grey.astype(np.uint8))
    for changed in (grey * 0.7, grey + 60, grey + generator.normal(0, 2, grey.shape)):
        found = hashed_alone(changed.clip(0, 255).astype(np.uint8))
        assert (hashed ^ found).bit_count() <= 6
    assert (hashed ^ hashed_alone(other[:SIDE, :SIDE].astype(np.uint8))).bit_count() > 16


@pytest.mark.parametrize(("side", "cells"), [(32, 32), (128, 32), (50, 8), (5, 8), (1, 3)])
def test_averages_are_those_of_pixels_cut_finely(side: int, cells: int) -> None:
    values = np.random.default_rng(2).normal(size=side)
    fine = np.repeat(values, cells).reshape(cells, side).mean(axis=1)
    np.testing.assert_allclose(averages(side, cells) @ values, fine, atol=1e-6)
