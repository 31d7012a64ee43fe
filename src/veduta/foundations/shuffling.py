r"""Shuffling (report section 4.6): other mini-batches in every epoch."""

from collections.abc import Iterator

import numpy as np

from veduta.foundations.arrays import Integers, require


def epoch_order(samples: int, *, rng: np.random.Generator) -> Integers:
    r"""Section 4.6: a permutation of the samples, every order equally likely.

    >>> sorted(epoch_order(5, rng=np.random.default_rng(0)).tolist())
    [0, 1, 2, 3, 4]
    """
    require(samples >= 1, "there is at least one sample to shuffle", samples)
    return rng.permutation(samples)


def batches(order: Integers, size: int) -> Iterator[Integers]:
    r"""Section 4.6 with (21): M samples at a time, each sample once.

    The last batch may be smaller. A single sample left over joins the batch before it: it has no
    deviation for (40) to divide by.

    >>> [batch.tolist() for batch in batches(np.arange(7), 3)]
    [[0, 1, 2], [3, 4, 5, 6]]
    """
    require(size >= 1, "a batch has at least one sample", size)
    starts = list(range(0, len(order), size))
    if size > 1 and len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        yield order[start:end]
