"""What happens to data: splits, preprocessing, shuffling, augmentation, dropout, top-k."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.foundations.drawing import assert_gradient, assert_same, few, normal, tensor
from veduta.foundations import (
    augmentation,
    dropout,
    generalisation,
    preprocessing,
    shuffling,
    transfer,
)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(samples=st.integers(5, 60), seed=st.integers(0, 99))
def test_a_split_shares_out_every_sample_once(samples: int, seed: int) -> None:
    parts = generalisation.split(samples, (0.6, 0.2, 0.2), rng=generator(seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(samples))
    assert all(
        abs(len(part) - share * samples) <= 1
        for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True)
    )
    assert [len(part) for part in generalisation.split(100, rng=generator())] == [80, 20]


@given(samples=st.integers(2, 40), count=st.integers(2, 6))
def test_folds_hold_every_sample_out_once(samples: int, count: int) -> None:
    count = min(samples, count)
    pairs = list(generalisation.folds(samples, count, rng=generator()))
    assert sorted(np.concatenate([held for _, held in pairs]).tolist()) == list(range(samples))
    for train, held in pairs:
        assert sorted([*train, *held]) == list(range(samples))


def test_over_and_underfitting() -> None:
    assert generalisation.gap(0.99, 0.86) == pytest.approx(0.13)
    assert generalisation.overfits(0.99, 0.86)
    assert not generalisation.overfits(0.86, 0.99)
    assert generalisation.underfits(0.5)
    assert generalisation.overfits_from([3, 2, 1, 0.5], [3, 2, 2.5, 3]) == 2
    assert generalisation.overfits_from([3, 2, 1, 0.5], [4, 3, 2, 1]) is None
    assert generalisation.overfits_from([3, 2, 2.5, 3], [3, 2, 2.5, 3]) is None


def test_bad_splits() -> None:
    for shares in ((0.5, 0.4), (1.2, -0.2)):
        with pytest.raises(ValueError, match="positive and sum to 1"):
            generalisation.split(10, shares, rng=generator())
    with pytest.raises(ValueError, match=r"every part has at least one sample; got \[2, 0\]"):
        generalisation.split(2, (0.9, 0.1), rng=generator())
    with pytest.raises(ValueError, match=r"lies in 2\.\.5; got 6"):
        list(generalisation.folds(5, 6, rng=generator()))
    with pytest.raises(ValueError, match=r"accuracies lie in \[0, 1\]; got 99 and 0.8"):
        generalisation.gap(99, 0.8)
    with pytest.raises(ValueError, match="accuracies lie in"):
        generalisation.underfits(1.1)
    with pytest.raises(ValueError, match=r"two losses an epoch; got \(2, 1\)"):
        generalisation.overfits_from([1, 2], [1])


@few
@given(
    old=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    new=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_resize_is_bilinear(old: tuple[int, int], new: tuple[int, int]) -> None:
    images = normal(0, 2, 3, *old)
    expected = functional.interpolate(tensor(images), new, mode="bilinear", align_corners=False)
    assert_same(preprocessing.resize(images, new[0], width=new[1]), expected)


def test_normalise() -> None:
    pixels = generator().integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    unit = preprocessing.to_unit(pixels)
    assert unit.max() <= 1
    own = preprocessing.normalise(unit, preprocessing.channel_statistics(unit))
    assert own.mean(axis=(0, 2, 3)) == pytest.approx(np.zeros(3), abs=1e-12)
    assert own.std(axis=(0, 2, 3)) == pytest.approx(np.ones(3))
    by_hand = (unit[0, 1, 2, 3] - 0.456) / 0.224
    assert preprocessing.normalise(unit)[0, 1, 2, 3] == pytest.approx(by_hand)


def test_bad_pixels() -> None:
    with pytest.raises(ValueError, match=r"pixels lie in 0\.\.255"):
        preprocessing.to_unit(np.array([256]))
    with pytest.raises(ValueError, match=r"images are \(N, 3, H, W\), a channel a mean"):
        preprocessing.normalise(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match="deviations are positive"):
        preprocessing.normalise(
            np.zeros((1, 1, 2, 2)), preprocessing.ChannelStatistics((0.0,), (0.0,))
        )
    with pytest.raises(ValueError, match="sizes are 1 or more"):
        preprocessing.resize(np.zeros((1, 1, 2, 2)), 0, width=2)
    with pytest.raises(ValueError, match="images are"):
        preprocessing.resize(np.zeros((2, 2)), 2, width=2)


@given(samples=st.integers(1, 40), size=st.integers(1, 12))
def test_batches_hold_every_sample_once(samples: int, size: int) -> None:
    order = shuffling.epoch_order(samples, rng=generator())
    sizes = [len(batch) for batch in shuffling.batches(order, size)]
    assert np.concatenate(list(shuffling.batches(order, size))).tolist() == order.tolist()
    assert all(n == size for n in sizes[:-2])
    assert max(sizes) <= size + 1
    assert 1 not in sizes or size == 1 or samples == 1


def test_orders_differ_by_epoch_and_repeat_by_seed() -> None:
    rng, again = generator(), generator()
    orders = [shuffling.epoch_order(20, rng=rng).tolist() for _ in range(2)]
    assert orders[0] != orders[1]
    assert orders == [shuffling.epoch_order(20, rng=again).tolist() for _ in range(2)]
    with pytest.raises(ValueError, match="at least one sample to shuffle; got 0"):
        shuffling.epoch_order(0, rng=rng)
    with pytest.raises(ValueError, match="a batch has at least one sample; got 0"):
        list(shuffling.batches(np.arange(3), 0))


def test_views() -> None:
    images = normal(0, 2, 3, 6, 6)
    assert np.array_equal(
        augmentation.flip_horizontally(images), torch.flip(torch.tensor(images), (3,))
    )
    assert np.array_equal(
        augmentation.flip_vertically(images), torch.flip(torch.tensor(images), (2,))
    )
    assert_same(augmentation.rotate(images, 90), np.rot90(images, axes=(2, 3)))
    assert_same(augmentation.rotate(images, 180), images[..., ::-1, ::-1])
    assert not augmentation.rotate(np.ones((1, 1, 9, 9)), 45)[0, 0, 0, 0]
    whole = augmentation.crop(images, 6, top=0, left=0)
    assert_same(whole, images)
    with pytest.raises(ValueError, match=r"inside the 6 x 6 image; got \(4, 3, 0\)"):
        augmentation.crop(images, 4, top=3, left=0)


def test_views_are_fresh_in_every_epoch_and_repeat_by_seed() -> None:
    images, rng = normal(0, 4, 1, 8, 8), generator()
    first, second = (augmentation.augment(images, rng=rng) for _ in range(2))
    assert first.shape == images.shape
    assert not np.array_equal(first, second)
    assert np.array_equal(first, augmentation.augment(images, rng=generator()))


def test_dropout_in_both_modes() -> None:
    a = np.ones((200, 200))
    kept, scale = dropout.dropout(a, 0.8, rng=generator())
    assert set(np.unique(kept)) == {0.0, 1.25}
    assert (kept > 0).mean() == pytest.approx(0.8, abs=0.01)
    assert kept.mean() == pytest.approx(1, abs=0.01)
    assert dropout.evaluate(a) is a
    assert np.array_equal(dropout.dropout(a, 1.0, rng=generator())[0], a)
    z, g = normal(0, 4, 5), normal(1, 4, 5)
    _, scale = dropout.dropout(z, 0.5, rng=generator())
    assert_gradient(dropout.dropout_backward(g, scale), lambda at: g * at * scale, z)
    with pytest.raises(ValueError, match="delta and scale have one shape"):
        dropout.dropout_backward(g, scale[:1])
    for keep in (0.0, 1.1):
        with pytest.raises(ValueError, match=r"keep probability lies in \(0, 1\]"):
            dropout.dropout(a, keep, rng=generator())


@given(samples=st.integers(1, 20), classes=st.integers(5, 9), seed=st.integers(0, 9))
def test_top_k_against_sorting(samples: int, classes: int, seed: int) -> None:
    scores, labels = normal(seed, samples, classes), generator(seed).integers(classes, size=samples)
    for k, accuracy in ((1, transfer.top_1_accuracy), (5, transfer.top_5_accuracy)):
        hits = [
            label in sorted(range(classes), key=row.__getitem__)[-k:]
            for row, label in zip(scores, labels, strict=True)
        ]
        assert accuracy(scores, labels) == pytest.approx(np.mean(hits))


def test_top_k_of_equal_scores_goes_to_the_lower_class() -> None:
    scores = np.zeros((2, 3))
    assert transfer.top_1_accuracy(scores, np.array([0, 1])) == 0.5
    with pytest.raises(ValueError, match=r"k lies in 1\.\.3, for one sample or more; got 5"):
        transfer.top_5_accuracy(scores, np.array([0, 1]))
    with pytest.raises(ValueError, match=r"scores are \(N, classes\); got \(3,\)"):
        transfer.top_1_accuracy(scores[0], np.array([0]))
    with pytest.raises(ValueError, match="scores are numbers; got NaN"):
        transfer.top_1_accuracy(scores * np.nan, np.array([0, 1]))
    with pytest.raises(ValueError, match="labels are one whole number"):
        transfer.top_1_accuracy(scores, np.array([0, 3]))
