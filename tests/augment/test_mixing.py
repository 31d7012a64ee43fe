"""MixUp and CutMix: worked by hand, the distribution of shares, and the same in any company."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.augment.test_matrices import noise
from veduta.augment.mixing import PARTS, boxes, cutmix, mix, mixup, partners
from veduta.augment.views import Augmented
from veduta.runtime.streams import mix as scrambled

COUNT, SIZE = 37, 12
KEYS = scrambled(np.arange(COUNT, dtype=np.uint64))
BOTH = ("cutmix", "mixup")
ALL = slice(None)


def mixed(
    part: slice | np.ndarray = ALL, *, names: tuple[str, ...] = BOTH, seed: int = 0, epoch: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    pixels, others = noise(2 * COUNT, SIZE)[:COUNT], noise(2 * COUNT, SIZE)[COUNT:]
    return mix(pixels[part], others[part], KEYS[part], names=names, seed=seed, epoch=epoch)


def shares_of(name: str, count: int = 20_000) -> np.ndarray:
    keys = scrambled(np.arange(count, dtype=np.uint64))
    pixels = np.zeros((count, 1, 1, 3), np.uint8)
    return mix(pixels, pixels, keys, names=[name], seed=0, epoch=1)[1]


def test_mixup_by_hand() -> None:
    ours = np.array([0, 255, 100, 10], np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=3)
    theirs = np.array([255, 255, 101, 30], np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=3)
    chosen = np.array([0])
    for parts, expected in (
        (64.0, [191, 255, 101, 25]),  # 191.25, 255, 100.75, 25
        (128.0, [128, 255, 101, 20]),  # 127.5 and 100.5 are rounded up
        (256.0, [0, 255, 100, 10]),
        (0.0, [255, 255, 101, 30]),
    ):
        found = ours.copy()
        share = mixup(found, theirs, np.array([parts]), chosen=chosen)
        assert share.tolist() == [parts / PARTS]
        assert found[..., 0].ravel().tolist() == expected


def test_mixup_is_its_equation_to_a_rounding() -> None:
    found, shares = mixed(names=("mixup",))
    ours, theirs = noise(2 * COUNT, SIZE)[:COUNT], noise(2 * COUNT, SIZE)[COUNT:]
    weight = shares.astype(float)[:, None, None, None]
    assert abs(weight * ours + (1 - weight) * theirs - found).max() <= 0.5


def test_maps_are_mixed_unrounded_with_the_shares_of_pixels() -> None:
    ours = np.array([0, 0.5, -2, 8], np.float32).reshape(1, 2, 2, 1)
    theirs = np.array([4, 0.5, 2, 0], np.float32).reshape(1, 2, 2, 1)
    share = mixup(ours, theirs, np.array([64.0]), chosen=np.array([0]))
    assert share.tolist() == [0.25]
    assert ours.ravel().tolist() == [3, 0.5, 1, 2]
    pixels, kept = mixed()
    maps = [half.astype(np.float32) for half in np.split(noise(2 * COUNT, SIZE), 2)]
    found, shares = mix(maps[0], maps[1], KEYS, names=BOTH, seed=0, epoch=1)
    np.testing.assert_array_equal(shares, kept)
    assert found.dtype == np.float32
    assert 0 < abs(found - pixels).max() <= 0.5
    np.testing.assert_array_equal(maps[0], noise(2 * COUNT, SIZE)[:COUNT])  # not changed


def test_boxes_by_hand() -> None:
    # 0.75 of the area is kept: half a side of 8 is cut out, about (4, 4), and about a corner
    found = boxes(np.array([0.75, 0.75, 1.0, 0.0]), np.array([[0.5, 0.5], [0, 0.99], [0.3, 0.3],
                  [0.5, 0.5]]), 8)  # fmt: skip
    assert found.tolist() == [[2, 2, 6, 6], [0, 5, 2, 8], [2, 2, 2, 2], [0, 0, 8, 8]]


def test_cutmix_pastes_the_box_and_counts_its_area() -> None:
    ours, theirs = noise(2, 8)[:1].copy(), noise(2, 8)[1:]
    share = cutmix(ours, theirs, np.array([[0, 5, 2, 8]]), chosen=np.array([0]))
    assert share.tolist() == [1 - 6 / 64]
    expected = noise(2, 8)[0].copy()
    expected[5:8, :2] = theirs[0, 5:8, :2]
    np.testing.assert_array_equal(ours[0], expected)


def test_a_cut_share_is_that_of_pixels_that_stayed() -> None:
    ours = np.zeros((COUNT, 16, 16, 3), np.uint8)
    found, shares = mix(ours, ours + 255, KEYS, names=["cutmix"], seed=2, epoch=3)
    np.testing.assert_allclose((found == 0).mean(axis=(1, 2, 3)), shares, atol=1e-6)


def test_shares_of_mixup_are_beta() -> None:
    shares, a = shares_of("mixup").astype(float), 0.2
    assert shares.mean() == pytest.approx(0.5, abs=0.01)
    assert shares.var() == pytest.approx(1 / (4 * (2 * a + 1)), abs=0.003)
    assert ((shares < 0.1) | (shares > 0.9)).mean() == pytest.approx(0.673, abs=0.012)


def test_shares_of_cutmix_are_uniform_but_for_what_the_edge_cuts() -> None:
    count = 20_000
    u = np.random.default_rng(0).random((count, 2))
    lam = np.random.default_rng(1).random(count)
    left, top, right, bottom = boxes(lam, u, 100).T
    kept = 1 - (right - left) * (bottom - top) / 100**2
    assert (kept >= lam).all()
    side = np.sqrt(1 - lam)  # of a side s, s^2/4 are lost at the edges on average: (s - s^2/4)^2
    assert kept.mean() == pytest.approx(1 - ((side - side**2 / 4) ** 2).mean(), abs=0.01)
    tiny = shares_of("cutmix")  # of a single pixel: it goes only where the whole of it is cut
    assert set(np.unique(tiny)) <= {0.0, 1.0}


def test_each_sample_takes_one_by_its_own_coin() -> None:
    found, shares = mixed()
    (first, at_first), (second, at_second) = (mixed(names=(name,)) for name in BOTH)
    cut = (found == first).all(axis=(1, 2, 3)) & (shares == at_first)
    blended = (found == second).all(axis=(1, 2, 3)) & (shares == at_second)
    assert (cut | blended).all()
    assert 8 < cut.sum() < 29


@given(st.permutations(range(COUNT)), st.integers(1, COUNT))
def test_company_and_order_mean_nothing(order: list[int], size: int) -> None:
    whole, shares = mixed()
    parts = [mixed(np.array(order[start : start + size])) for start in range(0, COUNT, size)]
    np.testing.assert_array_equal(np.concatenate([one for one, _ in parts]), whole[order])
    np.testing.assert_array_equal(np.concatenate([kept for _, kept in parts]), shares[order])


def test_seed_and_epoch_decide() -> None:
    shares = mixed()[1]
    assert (mixed(epoch=2)[1] != shares).mean() > 0.6
    assert (mixed(seed=1)[1] != shares).mean() > 0.6


def test_without_a_name_nothing_is_mixed() -> None:
    found, shares = mixed(names=("crop", "flip"))
    np.testing.assert_array_equal(found, noise(2 * COUNT, SIZE)[:COUNT])
    assert shares.dtype == np.float32
    assert (shares == 1).all()
    assert partners(KEYS, names=("crop",), seed=0, epoch=1) is None
    assert mixed(slice(0, 0))[0].shape == (0, SIZE, SIZE, 3)


def pairs(keys: np.ndarray, *, epoch: int = 1) -> np.ndarray:
    found = partners(keys, names=["mixup"], seed=0, epoch=epoch)
    assert found is not None
    return found


@pytest.mark.parametrize("count", [1, 2, 3, COUNT])
def test_partners_are_a_circle(count: int) -> None:
    found, place = pairs(KEYS[:count]), 0
    visited = [place := int(found[place]) for _ in range(count)]
    assert sorted(visited) == list(range(count))
    assert (found == np.arange(count)).any() == (count == 1)


def test_partners_depend_on_epoch_and_on_contents_not_on_places() -> None:
    found = pairs(KEYS)
    assert (pairs(KEYS, epoch=2) != found).mean() > 0.8
    order = np.random.default_rng(0).permutation(COUNT)
    np.testing.assert_array_equal(KEYS[order][pairs(KEYS[order])], KEYS[found][order])


def test_a_view_that_is_kept_does_not_hang_on_what_is_mixed() -> None:
    crop, mixing, flip = (
        Augmented(names, 0, 1).spec() for names in (("crop",), ("mixup", "crop"), ("flip",))
    )
    assert crop == mixing != flip
