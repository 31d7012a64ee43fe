"""Random streams: published values, uniform, and a pure function of their purpose."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from veduta.runtime.streams import (
    GOLDEN,
    derive_key,
    derive_sample_keys,
    draw_tensor,
    draw_uniforms,
    mix_bits,
    shuffle,
)

KEYS = mix_bits(np.arange(4000, dtype=np.uint64))


def test_mixing_function_is_splitmix64() -> None:
    # the first outputs of the generator seeded with 1234567, from its published test vectors
    counter = np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * GOLDEN
    assert mix_bits(counter).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.permutations(range(40)), st.integers(0, 5))
def test_order_depends_on_content_and_not_on_position(positions: list[int], epoch: int) -> None:
    key = derive_key(0, "order", epoch)
    original = KEYS[:40][shuffle(key, KEYS[:40])]
    moved = KEYS[:40][positions]
    assert (original == moved[shuffle(key, moved)]).all()


def test_order_differs_by_epoch_and_seed() -> None:
    orders = {
        tuple(shuffle(derive_key(s, "order", e), KEYS[:40])) for s in range(3) for e in range(3)
    }
    assert len(orders) == 9


@given(st.lists(st.integers(0, 3999), min_size=1, max_size=30, unique=True))
def test_noise_of_an_image_is_independent_of_its_batch(rows: list[int]) -> None:
    key = derive_key(3, "dropout", 0, 1)
    everything = draw_uniforms(key, KEYS, 7)
    assert (draw_uniforms(key, KEYS[rows], 7) == everything[rows]).all()


def test_noise_is_uniform_and_uncorrelated() -> None:
    drawn = draw_uniforms(derive_key(0, "dropout", 0, 1), KEYS, 50).astype(np.float64)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn, 20, (0, 1))
    expected = drawn.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-square, 19 degrees, p = 0.001
    correlations = np.asarray(np.corrcoef(drawn.T))[np.triu_indices(50, 1)]
    assert abs(correlations).max() < 5 / np.sqrt(len(KEYS))


def test_tensor_depends_only_on_key_and_shape() -> None:
    first = draw_tensor(derive_key(0, "weights", 3, 4), (3, 4))
    np.random.default_rng().random(5)
    assert (draw_tensor(derive_key(0, "weights", 3, 4), (3, 4)) == first).all()
    assert not (draw_tensor(derive_key(1, "weights", 3, 4), (3, 4)) == first).any()


def test_sample_keys_are_the_first_64_bits() -> None:
    digest = "0123456789abcdef" + "f" * 48
    assert derive_sample_keys([digest]).tolist() == [0x0123456789ABCDEF]
