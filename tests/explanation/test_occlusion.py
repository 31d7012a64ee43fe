"""Occlusion: by hand, on an answer that depends on one block of pixels only."""

import numpy as np
import pytest

from veduta.errors import InputError
from veduta.explanation.occlusion import BATCH, GREY, Array, Pixels, occlusion, places

SIZE = 12
BLOCK = np.s_[4:8, 6:9]


def of_a_block(pixels: Pixels) -> Array:
    """The share of white in one block is the probability of class 1; nothing else counts."""
    white = (pixels[:, *BLOCK].astype(np.float32) / 255).mean((1, 2, 3))
    return np.stack([1 - white, white], axis=1)


def image() -> Pixels:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    pixels[BLOCK] = 255
    return pixels


@pytest.mark.parametrize(("patch", "stride"), [(2, 1), (3, 3), (4, 2), (5, 4), (12, 5)])
def test_the_drop_is_the_share_of_the_block_that_is_hidden(patch: int, stride: int) -> None:
    found = occlusion(of_a_block, image(), 1, patch=patch, stride=stride)
    tops = places(SIZE, patch, stride)
    for row, top in enumerate(tops):
        for column, left in enumerate(tops):
            high = max(0, min(8, top + patch) - max(4, top))
            wide = max(0, min(9, left + patch) - max(6, left))
            expected = high * wide / 12 * (255 - GREY) / 255
            assert found.raw[row, column] == pytest.approx(expected, abs=1e-6)
    assert found.map[BLOCK].max() == found.map.max() == 1


def test_single_pixels_show_the_block_exactly() -> None:
    found = occlusion(of_a_block, image(), 1, patch=1, stride=1)
    expected = np.zeros((SIZE, SIZE), np.float32)
    expected[BLOCK] = 1
    np.testing.assert_allclose(found.map, expected, atol=1e-6)


def test_a_pixel_has_the_mean_of_the_patches_that_hide_it() -> None:
    found = occlusion(of_a_block, image(), 1, patch=4, stride=2)
    tops = places(SIZE, 4, 2)
    total, count = np.zeros((2, SIZE, SIZE))
    for row, top in enumerate(tops):
        for column, left in enumerate(tops):
            total[top : top + 4, left : left + 4] += found.raw[row, column]
            count[top : top + 4, left : left + 4] += 1
    mean = total / count
    np.testing.assert_allclose(found.map, mean / mean.max(), atol=1e-6)


def test_what_speaks_against_a_class_is_below_0_and_not_on_the_map() -> None:
    found = occlusion(of_a_block, image(), 0, patch=3, stride=1)
    assert found.raw.min() < 0
    assert found.raw.max() == 0
    assert not found.map.any()


def test_the_image_is_left_alone_and_asked_about_in_batches() -> None:
    pixels, sizes = image(), []

    def probabilities(many: Pixels) -> Array:
        sizes.append(len(many))
        return of_a_block(many)

    before = pixels.copy()
    occlusion(probabilities, pixels, 1, patch=2, stride=1)
    np.testing.assert_array_equal(pixels, before)
    assert sizes == [1, BATCH, BATCH, BATCH, 121 - 3 * BATCH]


@pytest.mark.parametrize(("patch", "stride"), [(13, 1), (4, 5), (4, 0), (0, 0)])
def test_a_patch_that_does_not_fit_is_refused(patch: int, stride: int) -> None:
    with pytest.raises(InputError, match=f"got {patch} and {stride}"):
        occlusion(of_a_block, image(), 1, patch=patch, stride=stride)
