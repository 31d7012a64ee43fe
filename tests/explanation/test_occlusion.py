"""Occlusion of a classifier whose probabilities depend on one block of pixels only."""

import numpy as np
import pytest

from veduta.errors import InputError
from veduta.explanation.occlusion import BATCH, GRAY, compute_occlusion, list_patch_starts
from veduta.types import Float32Array, PixelArray

SIZE = 12
BLOCK = np.s_[4:8, 6:9]


def predict_from_block(pixels: PixelArray) -> Float32Array:
    """Return the brightness of the block as the probability of class 1."""
    white = (pixels[:, *BLOCK].astype(np.float32) / 255).mean((1, 2, 3))
    return np.stack([1 - white, white], axis=1)


def draw_image() -> PixelArray:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    pixels[BLOCK] = 255
    return pixels


@pytest.mark.parametrize(("patch", "stride"), [(2, 1), (3, 3), (4, 2), (5, 4), (12, 5)])
def test_the_drop_is_the_hidden_fraction_of_the_block(patch: int, stride: int) -> None:
    occlusion = compute_occlusion(predict_from_block, draw_image(), 1, patch=patch, stride=stride)
    starts = list_patch_starts(SIZE, patch, stride)
    for row, top in enumerate(starts):
        for column, left in enumerate(starts):
            height = max(0, min(8, top + patch) - max(4, top))
            width = max(0, min(9, left + patch) - max(6, left))
            expected = height * width / 12 * (255 - GRAY) / 255
            assert occlusion.raw[row, column] == pytest.approx(expected, abs=1e-6)
    assert occlusion.map[BLOCK].max() == occlusion.map.max() == 1


def test_patches_of_one_pixel_show_the_block_exactly() -> None:
    occlusion = compute_occlusion(predict_from_block, draw_image(), 1, patch=1, stride=1)
    expected = np.zeros((SIZE, SIZE), np.float32)
    expected[BLOCK] = 1
    np.testing.assert_allclose(occlusion.map, expected, atol=1e-6)


def test_a_pixel_has_the_mean_drop_of_the_patches_that_hide_it() -> None:
    occlusion = compute_occlusion(predict_from_block, draw_image(), 1, patch=4, stride=2)
    starts = list_patch_starts(SIZE, 4, 2)
    total, count = np.zeros((2, SIZE, SIZE))
    for row, top in enumerate(starts):
        for column, left in enumerate(starts):
            total[top : top + 4, left : left + 4] += occlusion.raw[row, column]
            count[top : top + 4, left : left + 4] += 1
    mean = total / count
    np.testing.assert_allclose(occlusion.map, mean / mean.max(), atol=1e-6)


def test_regions_that_lower_the_probability_are_not_on_the_map() -> None:
    occlusion = compute_occlusion(predict_from_block, draw_image(), 0, patch=3, stride=1)
    assert occlusion.raw.min() < 0
    assert occlusion.raw.max() == 0
    assert not occlusion.map.any()


def test_the_image_stays_unchanged_and_is_predicted_in_batches() -> None:
    pixels, sizes = draw_image(), []

    def predict(batch: PixelArray) -> Float32Array:
        sizes.append(len(batch))
        return predict_from_block(batch)

    before = pixels.copy()
    compute_occlusion(predict, pixels, 1, patch=2, stride=1)
    np.testing.assert_array_equal(pixels, before)
    assert sizes == [1, BATCH, BATCH, BATCH, 121 - 3 * BATCH]


@pytest.mark.parametrize(("patch", "stride"), [(13, 1), (4, 5), (4, 0), (0, 0)])
def test_a_patch_that_does_not_fit_is_refused(patch: int, stride: int) -> None:
    with pytest.raises(InputError, match=f"got {patch} and {stride}"):
        compute_occlusion(predict_from_block, draw_image(), 1, patch=patch, stride=stride)
