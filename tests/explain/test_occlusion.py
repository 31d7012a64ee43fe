"""Occlusion finds the one block that an answer depends on, whatever the model is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from veduta.errors import InputError
from veduta.explain.occlusion import GREY, occlusion


def of_one_block(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Class 0 as probable as the block at rows 8 to 12, columns 4 to 8 is white."""
    white = pixels[:, 8:12, 4:8].mean((1, 2, 3)) / 255
    return np.stack([white, 1 - white], axis=1).astype(np.float32)


def test_the_block_that_decides_is_where_hiding_costs_most() -> None:
    pixels = np.full((16, 16, 3), 255, np.uint8)
    found = occlusion(of_one_block, pixels, 0, patch=4, stride=4)
    expected = np.zeros((4, 4), np.float32)
    expected[2, 1] = 1 - GREY / 255
    np.testing.assert_allclose(found.raw, expected, atol=1e-6)
    block = np.zeros((16, 16), bool)
    block[8:12, 4:8] = True
    assert (found.map[block] == 1).all()
    assert (found.map[~block] == 0).all()


def test_hiding_what_speaks_against_a_class_is_below_nothing() -> None:
    pixels = np.full((16, 16, 3), 255, np.uint8)
    found = occlusion(of_one_block, pixels, 1, patch=4, stride=2)
    assert found.raw.min() < 0
    assert not found.map.any()


@pytest.mark.parametrize(("patch", "stride"), [(17, 1), (4, 5), (4, 0)])
def test_a_patch_that_does_not_fit_is_refused(patch: int, stride: int) -> None:
    with pytest.raises(InputError, match="at most as large"):
        occlusion(of_one_block, np.zeros((16, 16, 3), np.uint8), 0, patch=patch, stride=stride)
