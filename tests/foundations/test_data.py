"""Splits, preprocessing, augmentation, shuffling, and top-k accuracy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.foundations.helpers import (
    assert_same,
    draw_normal,
    few_examples,
    to_tensor,
)
from veduta.foundations import generalization, preprocessing, training


def make_rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(samples=st.integers(5, 60), seed=st.integers(0, 99))
def test_split_uses_every_sample_once(samples: int, seed: int) -> None:
    subsets = generalization.split(samples, (0.6, 0.2, 0.2), rng=make_rng(seed))
    assert sorted(np.concatenate(subsets).tolist()) == list(range(samples))
    assert all(
        abs(len(subset) - share * samples) <= 1
        for subset, share in zip(subsets, (0.6, 0.2, 0.2), strict=True)
    )
    assert [len(subset) for subset in generalization.split(100, rng=make_rng())] == [80, 20]


@given(samples=st.integers(2, 40), count=st.integers(2, 6))
def test_every_sample_is_held_out_in_one_fold(samples: int, count: int) -> None:
    count = min(samples, count)
    pairs = list(generalization.split_into_folds(samples, count, rng=make_rng()))
    assert sorted(np.concatenate([held_out for _, held_out in pairs]).tolist()) == list(
        range(samples)
    )
    for train, held_out in pairs:
        assert sorted([*train, *held_out]) == list(range(samples))


def test_overfitting_and_underfitting() -> None:
    assert generalization.generalization_gap(0.99, 0.86) == pytest.approx(0.13)
    assert generalization.overfits(0.99, 0.86)
    assert not generalization.overfits(0.86, 0.99)
    assert generalization.underfits(0.5)
    assert generalization.find_overfitting_epoch([3, 2, 1, 0.5], [3, 2, 2.5, 3]) == 2
    assert generalization.find_overfitting_epoch([3, 2, 1, 0.5], [4, 3, 2, 1]) is None
    assert generalization.find_overfitting_epoch([3, 2, 2.5, 3], [3, 2, 2.5, 3]) is None


def test_invalid_splits_and_accuracies_are_refused() -> None:
    for fractions in ((0.5, 0.4), (1.2, -0.2)):
        with pytest.raises(ValueError, match="fractions must be positive and sum to 1"):
            generalization.split(10, fractions, rng=make_rng())
    with pytest.raises(
        ValueError, match=r"every subset must have at least one sample; got \[2, 0\]"
    ):
        generalization.split(2, (0.9, 0.1), rng=make_rng())
    with pytest.raises(ValueError, match=r"must lie in 2\.\.5; got 6"):
        list(generalization.split_into_folds(5, 6, rng=make_rng()))
    with pytest.raises(ValueError, match=r"accuracies must lie in \[0, 1\]; got 99 and 0.8"):
        generalization.generalization_gap(99, 0.8)
    with pytest.raises(ValueError, match="accuracies must lie in"):
        generalization.underfits(1.1)
    with pytest.raises(
        ValueError, match=r"as many training losses as validation losses; got \(2, 1\)"
    ):
        generalization.find_overfitting_epoch([1, 2], [1])


@few_examples
@given(
    old=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    new=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_resize_agrees_with_bilinear_interpolation_in_pytorch(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    images = draw_normal(0, 2, 3, *old)
    expected = functional.interpolate(to_tensor(images), new, mode="bilinear", align_corners=False)
    assert_same(preprocessing.resize(images, new[0], width=new[1]), expected)


def test_normalization_with_own_and_imagenet_statistics() -> None:
    pixels = make_rng().integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    unit = preprocessing.scale_to_unit(pixels)
    assert unit.max() <= 1
    normalized = preprocessing.normalize(unit, preprocessing.channel_statistics(unit))
    assert normalized.mean(axis=(0, 2, 3)) == pytest.approx(np.zeros(3), abs=1e-12)
    assert normalized.std(axis=(0, 2, 3)) == pytest.approx(np.ones(3))
    expected = (unit[0, 1, 2, 3] - 0.456) / 0.224
    assert preprocessing.normalize(unit)[0, 1, 2, 3] == pytest.approx(expected)


def test_invalid_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pixels must lie in 0\.\.255"):
        preprocessing.scale_to_unit(np.array([256]))
    with pytest.raises(ValueError, match=r"images must be \(N, 3, H, W\), one channel per mean"):
        preprocessing.normalize(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match="standard deviations must be positive"):
        preprocessing.normalize(
            np.zeros((1, 1, 2, 2)), preprocessing.ChannelStatistics((0.0,), (0.0,))
        )
    with pytest.raises(ValueError, match="sizes must be 1 or more"):
        preprocessing.resize(np.zeros((1, 1, 2, 2)), 0, width=2)
    with pytest.raises(ValueError, match="images must be"):
        preprocessing.resize(np.zeros((2, 2)), 2, width=2)


@given(samples=st.integers(1, 40), size=st.integers(1, 12))
def test_batches_cover_every_sample_once(samples: int, size: int) -> None:
    order = training.shuffle_samples(samples, rng=make_rng())
    sizes = [len(batch) for batch in training.split_into_batches(order, size)]
    assert np.concatenate(list(training.split_into_batches(order, size))).tolist() == order.tolist()
    assert all(n == size for n in sizes[:-2])
    assert max(sizes) <= size + 1
    assert 1 not in sizes or size == 1 or samples == 1


def test_shuffling_differs_by_epoch_and_repeats_with_the_seed() -> None:
    rng, same_seed = make_rng(), make_rng()
    orders = [training.shuffle_samples(20, rng=rng).tolist() for _ in range(2)]
    assert orders[0] != orders[1]
    assert orders == [training.shuffle_samples(20, rng=same_seed).tolist() for _ in range(2)]
    with pytest.raises(ValueError, match="at least one sample to shuffle; got 0"):
        training.shuffle_samples(0, rng=rng)
    with pytest.raises(ValueError, match="the batch size must be 1 or more; got 0"):
        list(training.split_into_batches(np.arange(3), 0))


def test_flip_rotate_and_crop() -> None:
    images = draw_normal(0, 2, 3, 6, 6)
    assert np.array_equal(
        preprocessing.flip_horizontally(images), torch.flip(torch.tensor(images), (3,))
    )
    assert np.array_equal(
        preprocessing.flip_vertically(images), torch.flip(torch.tensor(images), (2,))
    )
    assert_same(preprocessing.rotate(images, 90), np.rot90(images, axes=(2, 3)))
    assert_same(preprocessing.rotate(images, 180), images[..., ::-1, ::-1])
    assert not preprocessing.rotate(np.ones((1, 1, 9, 9)), 45)[0, 0, 0, 0]
    uncropped = preprocessing.crop(images, 6, top=0, left=0)
    assert_same(uncropped, images)
    with pytest.raises(
        ValueError, match=r"a crop must lie inside the 6 x 6 image; got \(4, 3, 0\)"
    ):
        preprocessing.crop(images, 4, top=3, left=0)


def test_augmentation_differs_by_epoch_and_repeats_with_the_seed() -> None:
    images, rng = draw_normal(0, 4, 1, 8, 8), make_rng()
    first, second = (preprocessing.augment(images, rng=rng) for _ in range(2))
    assert first.shape == images.shape
    assert not np.array_equal(first, second)
    assert np.array_equal(first, preprocessing.augment(images, rng=make_rng()))


@given(samples=st.integers(1, 20), classes=st.integers(5, 9), seed=st.integers(0, 9))
def test_top_k_accuracy_agrees_with_sorting(samples: int, classes: int, seed: int) -> None:
    scores, labels = (
        draw_normal(seed, samples, classes),
        make_rng(seed).integers(classes, size=samples),
    )
    for k, accuracy in ((1, generalization.top_1_accuracy), (5, generalization.top_5_accuracy)):
        correct = [
            label in sorted(range(classes), key=row.__getitem__)[-k:]
            for row, label in zip(scores, labels, strict=True)
        ]
        assert accuracy(scores, labels) == pytest.approx(np.mean(correct))


def test_tied_scores_rank_the_lower_class_first() -> None:
    scores = np.zeros((2, 3))
    assert generalization.top_1_accuracy(scores, np.array([0, 1])) == 0.5
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.3; got 5"):
        generalization.top_5_accuracy(scores, np.array([0, 1]))
    with pytest.raises(ValueError, match=r"scores must be \(N, classes\); got \(3,\)"):
        generalization.top_1_accuracy(scores[0], np.array([0]))
    with pytest.raises(ValueError, match="scores must not be NaN"):
        generalization.top_1_accuracy(scores * np.nan, np.array([0, 1]))
    with pytest.raises(ValueError, match="labels must be 2 integers"):
        generalization.top_1_accuracy(scores, np.array([0, 3]))
