"""MixUp and CutMix: examples by hand, distributions of lambda, and independence of the batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.augmentation import make_noise_images
from veduta.augment.mixing import (
    MIXUP_LEVELS,
    apply_cutmix,
    apply_mixup,
    assign_partners,
    compute_cutmix_boxes,
    mix_images,
)
from veduta.augment.views import Augmented
from veduta.runtime.streams import mix_bits

COUNT, SIZE = 37, 12
KEYS = mix_bits(np.arange(COUNT, dtype=np.uint64))
BOTH = ("cutmix", "mixup")
ALL_ROWS = slice(None)


def make_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Make images and their partners."""
    pixels = make_noise_images(2 * COUNT, SIZE)
    return pixels[:COUNT], pixels[COUNT:]


def mix_rows(
    rows: slice | np.ndarray = ALL_ROWS,
    *,
    names: tuple[str, ...] = BOTH,
    seed: int = 0,
    epoch: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    own, others = make_pairs()
    return mix_images(own[rows], others[rows], KEYS[rows], names=names, seed=seed, epoch=epoch)


def draw_weights(name: str, count: int = 20_000) -> np.ndarray:
    """Draw lambda for many images of one pixel."""
    keys = mix_bits(np.arange(count, dtype=np.uint64))
    pixels = np.zeros((count, 1, 1, 3), np.uint8)
    return mix_images(pixels, pixels, keys, names=[name], seed=0, epoch=1)[1]


def test_mixup_by_hand() -> None:
    own = np.array([0, 255, 100, 10], np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=3)
    others = np.array([255, 255, 101, 30], np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=3)
    for level, expected in (
        (64.0, [191, 255, 101, 25]),  # 191.25, 255, 100.75, 25
        (128.0, [128, 255, 101, 20]),  # 127.5 and 100.5 are rounded up
        (256.0, [0, 255, 100, 10]),
        (0.0, [255, 255, 101, 30]),
    ):
        mixed = own.copy()
        weights = apply_mixup(mixed, others, np.array([level]), rows=np.array([0]))
        assert weights.tolist() == [level / MIXUP_LEVELS]
        assert mixed[..., 0].ravel().tolist() == expected


def test_mixup_equals_its_equation_up_to_rounding() -> None:
    mixed, weights = mix_rows(names=("mixup",))
    own, others = make_pairs()
    lam = weights.astype(float)[:, None, None, None]
    assert abs(lam * own + (1 - lam) * others - mixed).max() <= 0.5


def test_mixup_of_feature_maps_is_not_rounded() -> None:
    own = np.array([0, 0.5, -2, 8], np.float32).reshape(1, 2, 2, 1)
    others = np.array([4, 0.5, 2, 0], np.float32).reshape(1, 2, 2, 1)
    weights = apply_mixup(own, others, np.array([64.0]), rows=np.array([0]))
    assert weights.tolist() == [0.25]
    assert own.ravel().tolist() == [3, 0.5, 1, 2]


def test_feature_maps_have_the_weights_of_pixels_and_are_not_changed_in_place() -> None:
    mixed_pixels, pixel_weights = mix_rows()
    own, others = (pixels.astype(np.float32) for pixels in make_pairs())
    mixed_maps, weights = mix_images(own, others, KEYS, names=BOTH, seed=0, epoch=1)
    np.testing.assert_array_equal(weights, pixel_weights)
    assert mixed_maps.dtype == np.float32
    assert 0 < abs(mixed_maps - mixed_pixels).max() <= 0.5
    np.testing.assert_array_equal(own, make_pairs()[0])


def test_cutmix_boxes_by_hand() -> None:
    # lambda 0.75: half a side of 8 is replaced, with the center at (4, 4) and at (0, 7)
    lam = np.array([0.75, 0.75, 1.0, 0.0])
    u = np.array([[0.5, 0.5], [0, 0.99], [0.3, 0.3], [0.5, 0.5]])
    boxes = compute_cutmix_boxes(lam, u, 8)
    assert boxes.tolist() == [[2, 2, 6, 6], [0, 5, 2, 8], [2, 2, 2, 2], [0, 0, 8, 8]]


def test_cutmix_replaces_the_box_and_returns_the_remaining_area() -> None:
    pixels = make_noise_images(2, 8)
    own, others = pixels[:1].copy(), pixels[1:]
    weights = apply_cutmix(own, others, np.array([[0, 5, 2, 8]]), rows=np.array([0]))
    assert weights.tolist() == [1 - 6 / 64]
    expected = pixels[0].copy()
    expected[5:8, :2] = others[0, 5:8, :2]
    np.testing.assert_array_equal(own[0], expected)


def test_cutmix_weight_is_the_fraction_of_unchanged_pixels() -> None:
    own = np.zeros((COUNT, 16, 16, 3), np.uint8)
    mixed, weights = mix_images(own, own + 255, KEYS, names=["cutmix"], seed=2, epoch=3)
    np.testing.assert_allclose((mixed == 0).mean(axis=(1, 2, 3)), weights, atol=1e-6)


def test_mixup_weights_have_a_beta_distribution() -> None:
    weights, alpha = draw_weights("mixup").astype(float), 0.2
    assert weights.mean() == pytest.approx(0.5, abs=0.01)
    assert weights.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.003)
    assert ((weights < 0.1) | (weights > 0.9)).mean() == pytest.approx(0.673, abs=0.012)


def test_cutmix_weights_are_lambda_plus_the_clipped_area() -> None:
    count = 20_000
    u = np.random.default_rng(0).random((count, 2))
    lam = np.random.default_rng(1).random(count)
    left, top, right, bottom = compute_cutmix_boxes(lam, u, 100).T
    weights = 1 - (right - left) * (bottom - top) / 100**2
    assert (weights >= lam).all()
    side = np.sqrt(1 - lam)  # on average s^2 / 4 of a side s is clipped, which leaves s - s^2 / 4
    assert weights.mean() == pytest.approx(1 - ((side - side**2 / 4) ** 2).mean(), abs=0.01)
    single_pixel_weights = draw_weights("cutmix")
    assert set(np.unique(single_pixel_weights)) <= {0.0, 1.0}


def test_each_sample_is_mixed_by_one_method() -> None:
    mixed, weights = mix_rows()
    (cutmix, cutmix_weights), (mixup, mixup_weights) = (mix_rows(names=(name,)) for name in BOTH)
    by_cutmix = (mixed == cutmix).all(axis=(1, 2, 3)) & (weights == cutmix_weights)
    by_mixup = (mixed == mixup).all(axis=(1, 2, 3)) & (weights == mixup_weights)
    assert (by_cutmix | by_mixup).all()
    assert 8 < by_cutmix.sum() < 29


@given(st.permutations(range(COUNT)), st.integers(1, COUNT))
def test_result_does_not_depend_on_batch_and_order(order: list[int], size: int) -> None:
    mixed, weights = mix_rows()
    batches = [mix_rows(np.array(order[start : start + size])) for start in range(0, COUNT, size)]
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), mixed[order])
    np.testing.assert_array_equal(np.concatenate([lam for _, lam in batches]), weights[order])


def test_result_depends_on_seed_and_epoch() -> None:
    weights = mix_rows()[1]
    assert (mix_rows(epoch=2)[1] != weights).mean() > 0.6
    assert (mix_rows(seed=1)[1] != weights).mean() > 0.6


def test_other_augmentations_mix_nothing() -> None:
    mixed, weights = mix_rows(names=("crop", "flip"))
    np.testing.assert_array_equal(mixed, make_pairs()[0])
    assert weights.dtype == np.float32
    assert (weights == 1).all()
    assert assign_partners(KEYS, names=("crop",), seed=0, epoch=1) is None


def test_empty_batch() -> None:
    assert mix_rows(slice(0, 0))[0].shape == (0, SIZE, SIZE, 3)


def assign_mixup_partners(keys: np.ndarray, *, epoch: int = 1) -> np.ndarray:
    partners = assign_partners(keys, names=["mixup"], seed=0, epoch=epoch)
    assert partners is not None
    return partners


@pytest.mark.parametrize("count", [1, 2, 3, COUNT])
def test_partners_form_one_cycle(count: int) -> None:
    partners, row = assign_mixup_partners(KEYS[:count]), 0
    visited = [row := int(partners[row]) for _ in range(count)]
    assert sorted(visited) == list(range(count))
    assert (partners == np.arange(count)).any() == (count == 1)


def test_partners_depend_on_epoch_and_content_but_not_on_order() -> None:
    partners = assign_mixup_partners(KEYS)
    assert (assign_mixup_partners(KEYS, epoch=2) != partners).mean() > 0.8
    order = np.random.default_rng(0).permutation(COUNT)
    reordered = KEYS[order]
    np.testing.assert_array_equal(
        reordered[assign_mixup_partners(reordered)], KEYS[partners][order]
    )


def test_mixing_does_not_change_the_spec_of_a_view() -> None:
    crop, crop_and_mixup, flip = (
        Augmented(names, 0, 1).spec() for names in (("crop",), ("mixup", "crop"), ("flip",))
    )
    assert crop == crop_and_mixup != flip
