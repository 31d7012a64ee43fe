r"""Over- and underfitting, and the splits that show them (report section 3).

A net may memorise its training data: only data it has not seen can tell. Training data fit it,
validation data choose between settings, a third part, opened once, says how good the choice is.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from veduta.foundations.arrays import Integers, require
from veduta.foundations.stopping import optimal_epoch


def split(
    samples: int, shares: Sequence[float] = (0.8, 0.2), *, rng: np.random.Generator
) -> list[Integers]:
    r"""Section 3: disjoint parts that share out all samples at random, 80 and 20 % unless told.

    Raises:
        ValueError: shares do not sum to 1, or a part would be empty.

    >>> [len(part) for part in split(10, (0.6, 0.2, 0.2), rng=np.random.default_rng(0))]
    [6, 2, 2]
    """
    whole = min(shares) > 0 and abs(sum(shares) - 1) < 1e-9
    require(whole, "shares are positive and sum to 1", list(shares))
    ends = np.rint(np.cumsum(shares) * samples).astype(np.int64)
    parts = np.split(rng.permutation(samples), ends[:-1])
    sizes = [len(part) for part in parts]
    require(min(sizes) > 0, "every part has at least one sample", sizes)
    return parts


def folds(
    samples: int, count: int, *, rng: np.random.Generator
) -> Iterator[tuple[Integers, Integers]]:
    r"""Section 3, repeated: (training, held-out) pairs; every sample is held out once.

    >>> [(len(train), len(held)) for train, held in folds(5, 2, rng=np.random.default_rng(0))]
    [(2, 3), (3, 2)]
    """
    require(2 <= count <= samples, f"a fold count lies in 2..{samples}", count)
    parts = np.array_split(rng.permutation(samples), count)
    for held, part in enumerate(parts):
        yield np.concatenate(parts[:held] + parts[held + 1 :]), part


def gap(train: float, validation: float) -> float:
    r"""Section 3: how much better a net does on what it has seen; accuracies.

    >>> round(gap(train=0.99, validation=0.86), 2)
    0.13
    """
    accuracies = 0 <= train <= 1 and 0 <= validation <= 1
    require(accuracies, "accuracies lie in [0, 1]", f"{train} and {validation}")
    return train - validation


def overfits(train: float, validation: float, *, limit: float = 0.1) -> bool:
    r"""Section 3: the validation accuracy is considerably lower than the training accuracy.

    >>> overfits(train=0.99, validation=0.86), overfits(train=0.90, validation=0.86)
    (True, False)
    """
    return gap(train, validation) > limit


def underfits(train: float, *, limit: float = 0.6) -> bool:
    r"""Section 3: not even the data that were seen are described.

    >>> underfits(train=0.4), underfits(train=0.99)
    (True, False)
    """
    require(0 <= train <= 1, "accuracies lie in [0, 1]", train)
    return train < limit


def overfits_from(train_losses: Sequence[float], validation_losses: Sequence[float]) -> int | None:
    r"""Section 3: the epoch after which only the training loss improves, None if there is none.

    >>> overfits_from([0.9, 0.5, 0.3, 0.2], [0.9, 0.6, 0.7, 0.8])
    2
    """
    lengths = len(train_losses), len(validation_losses)
    require(lengths[0] == lengths[1], "there are two losses an epoch", lengths)
    best = optimal_epoch(validation_losses)
    return best if min(train_losses[best:], default=np.inf) < train_losses[best - 1] else None
