"""Erasing: which pixels, by what, and how large the boxes are."""

import numpy as np
import pytest

from tests.augment.test_matrices import drawn, noise
from veduta.augment.erasing import FLATTEST, LARGEST, SMALLEST, boxes, erase, sums
from veduta.augment.sampling import augment, transform
from veduta.runtime.streams import mix


def test_a_box_worked_by_hand() -> None:
    # a quarter of the area, as high as wide: half a side; starts at half of what is left
    np.testing.assert_allclose(
        boxes(np.array([[0.0, (0.25 - SMALLEST) / (LARGEST - SMALLEST), 0.5, 0.5, 1.0]])),
        [[0.25, 0.5, 0.75, 1.0]],
    )
    assert not boxes(np.array([[0.5, 1, 0.5, 0, 0]])).any()


def test_a_patch_takes_the_mean_colour_and_nothing_else_changes() -> None:
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    pixels[:, :, :2] = [255, 100, 7]
    before = pixels.copy()
    erase(pixels, np.array([[0.5, 0.25, 1.0, 0.75], [0, 0, 0, 0]]))
    assert pixels[0, 1:3, 2:].tolist() == [[[128, 50, 4]] * 2] * 2  # of 127.5, 50, 3.5: to even
    pixels[0, 1:3, 2:] = before[0, 1:3, 2:]
    np.testing.assert_array_equal(pixels, before)


def test_the_caller_keeps_its_images() -> None:
    pixels = noise(1)
    found = transform(pixels, {"patch": np.array([[0.0, 0.0, 1.0, 1.0]])})
    np.testing.assert_array_equal(pixels, noise(1))
    assert (found == np.rint(noise(1).mean(axis=(1, 2)))).all()


def test_sums_are_numpys_also_of_white() -> None:
    white = np.full((1, 300, 300, 3), 255, np.uint8)
    for pixels in (noise(3, 17), white):
        np.testing.assert_array_equal(sums(pixels), pixels.sum(axis=(1, 2), dtype=np.int64))


def test_what_is_erased_is_the_mean_of_the_view() -> None:
    keys = mix(np.arange(30, dtype=np.uint64))
    moved = augment(noise(30), keys, names=["crop", "colour"], seed=0, view=0)
    found = augment(noise(30), keys, names=["crop", "colour", "erasing"], seed=0, view=0)
    for before, after in zip(moved, found, strict=True):
        changed = (before != after).any(axis=-1)
        assert (after[changed] == np.rint(before.mean(axis=(0, 1)))).all()


def test_boxes_lie_inside_and_have_their_areas_and_shapes() -> None:
    found = drawn("erasing")
    sides = found[:, 2:] - found[:, :2]
    erased = sides.prod(axis=1) > 0
    assert erased.mean() == pytest.approx(0.5, abs=0.03)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-12
    area, shape = sides[erased].prod(axis=1), sides[erased, 1] / sides[erased, 0]
    assert SMALLEST - 1e-9 <= area.min() < 0.03
    assert 0.39 < area.max() <= LARGEST + 1e-9
    assert FLATTEST - 1e-9 <= shape.min() < 0.31
    assert np.log(shape).mean() == pytest.approx(0, abs=0.05)
