"""Random numbers that are a pure function of what they are for.

A stream is keyed by (seed, purpose, epoch, sample), never by an index, an order, a worker or what
ran before: so the result of a trial does not depend on its company, on how work was split, or on
whether the run was interrupted. The generator is SplitMix64 (Steele, Lea, Flood 2014), which is a
counter passed through a mixing function; NumPy's Philox serves where a whole tensor is drawn once.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, the counter's increment
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


def stream(seed: int, *purpose: str | int) -> np.uint64:
    """The 64-bit key of a stream.

    >>> len({int(stream(0, "order", epoch)) for epoch in (1, 2, 2)})
    2
    """
    text = "/".join(map(str, (seed, *purpose)))
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def sample_keys(digests: Sequence[str]) -> Keys:
    """One 64-bit key a sample, from the hexadecimal SHA-256 of its content."""
    return np.array([int(digest[:16], 16) for digest in digests], dtype=np.uint64)


def mix(counter: Keys) -> Keys:
    """SplitMix64's mixing function: neighbouring counters give unrelated numbers."""
    z = counter ^ (counter >> np.uint64(30))
    z *= FIRST
    z ^= z >> np.uint64(27)
    z *= SECOND
    z ^= z >> np.uint64(31)
    return z


def order(key: np.uint64, samples: Keys) -> NDArray[np.intp]:
    """A shuffling of samples: indices that sort them by their number in the stream.

    The samples come in a canonical order, so that equal ones (copies of an image) keep it.
    """
    return np.argsort(mix(samples + key), kind="stable")


def uniforms(key: np.uint64, samples: Keys, width: int) -> NDArray[np.float32]:
    """Numbers in [0, 1), shape (samples, width): row i depends on the key and sample i alone."""
    units = np.arange(1, width + 1, dtype=np.uint64) * GOLDEN
    numbers = mix(mix(samples + key)[:, None] + units)
    return (numbers >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def tensor(key: np.uint64, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers in [0, 1) for a whole tensor, such as initial weights."""
    return np.random.Generator(np.random.Philox(key=int(key))).random(shape)
