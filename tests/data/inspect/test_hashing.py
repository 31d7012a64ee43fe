"""Perceptual hashes against SciPy's transform; the search against a comparison of all pairs."""

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from veduta.data.inspect import hashing
from veduta.data.inspect.hashing import BITS, SIDE, alike, perceptual_hash


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
    assert alike(hashes, distance).tolist() == all_pairs(hashes, distance)


def test_hashes_that_crowd_in_one_band_are_found() -> None:
    hashes = np.arange(300, dtype=np.uint64)
    assert alike(hashes, 2).tolist() == all_pairs(hashes, 2)


def test_nothing_and_one() -> None:
    assert alike(np.empty(0, np.uint64), 3).shape == (0, 3)
    assert alike(np.ones(1, np.uint64), 3).shape == (0, 3)


def test_a_film_does_not_make_a_pair_of_every_two_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "MOST", 8)
    hashes = np.array([7, 7, 7, 6, 6, 6], np.uint64)
    assert alike(hashes, 1).tolist() == [
        *([0, 1, 0], [0, 2, 0]),
        *([0, 3, 1], [1, 3, 1], [2, 3, 1]),
        *([3, 4, 0], [3, 5, 0]),
    ]


def test_bits_say_which_of_the_lowest_frequencies_are_above_their_median() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    table = np.round(scipy.fft.dctn(grey.astype(float), type=2) / 4)  # SciPy takes sums twice
    places = sorted(np.ndindex(SIDE, SIDE), key=lambda p: (p[0] + p[1], p[0]))[1 : BITS + 1]
    lowest = np.array([table[place] for place in places])
    expected = int("".join("1" if value > np.median(lowest) else "0" for value in lowest), 2)
    assert perceptual_hash(grey) == expected


def test_brightness_contrast_and_noise_change_little() -> None:
    generator = np.random.default_rng(1)
    small = generator.integers(40, 180, (6, 6)).astype(float)
    grey = np.kron(small, np.ones((6, 6)))[:SIDE, :SIDE]
    other = np.kron(generator.integers(40, 180, (6, 6)).astype(float), np.ones((6, 6)))
    hashed = perceptual_hash(grey.astype(np.uint8))
    for changed in (grey * 0.7, grey + 60, grey + generator.normal(0, 2, grey.shape)):
        found = perceptual_hash(changed.clip(0, 255).astype(np.uint8))
        assert (hashed ^ found).bit_count() <= 6
    assert (hashed ^ perceptual_hash(other[:SIDE, :SIDE].astype(np.uint8))).bit_count() > 16
