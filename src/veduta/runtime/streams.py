"""Random numbers that are a pure function of their purpose.

A stream is determined by (seed, purpose, epoch, sample) and never by an index, an order, a worker
or earlier draws: the result of a trial depends neither on other trials, nor on how the work is
split, nor on interruptions. The generator is SplitMix64 (Steele, Lea, Flood 2014), which is a
counter passed through a mixing function; whole tensors are drawn by NumPy's Philox generator.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from veduta.types import Float32Array, FloatArray, IndexArray, KeyArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, the increment of the counter
MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


def derive_key(seed: int, *purpose: str | int) -> np.uint64:
    """Return the 64-bit key of the stream for a seed and a purpose.

    >>> len({int(derive_key(0, "order", epoch)) for epoch in (1, 2, 2)})
    2
    """
    text = "/".join(map(str, (seed, *purpose)))
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def derive_sample_keys(digests: Sequence[str]) -> KeyArray:
    """Return one 64-bit key per sample from the hexadecimal SHA-256 of its content."""
    return np.array([int(digest[:16], 16) for digest in digests], dtype=np.uint64)


def mix_bits(counter: KeyArray) -> KeyArray:
    """Apply the mixing function of SplitMix64, which turns a counter into random numbers."""
    z = counter ^ (counter >> np.uint64(30))
    z *= MULTIPLIER_1
    z ^= z >> np.uint64(27)
    z *= MULTIPLIER_2
    z ^= z >> np.uint64(31)
    return z


def shuffle(key: np.uint64, samples: KeyArray) -> IndexArray:
    """Return indices that shuffle samples: they sort them by their numbers in the stream.

    Samples with equal keys (copies of an image) keep their order, which must be canonical.
    """
    return np.argsort(mix_bits(samples + key), kind="stable")


def draw_uniforms(key: np.uint64, samples: KeyArray, width: int) -> Float32Array:
    """Draw numbers in [0, 1), shape (samples, width); row i depends on the key and sample i."""
    counters = np.arange(1, width + 1, dtype=np.uint64) * GOLDEN
    numbers = mix_bits(mix_bits(samples + key)[:, None] + counters)
    return (numbers >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def draw_tensor(key: np.uint64, shape: tuple[int, ...]) -> FloatArray:
    """Draw numbers in [0, 1) for a whole tensor, such as initial weights."""
    return np.random.Generator(np.random.Philox(key=int(key))).random(shape)
