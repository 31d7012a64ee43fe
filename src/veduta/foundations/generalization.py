r"""Data splits, overfitting and underfitting, top-k accuracy (report sections 3 and 4.9).

A network can memorize its training data, so only data it was not trained on show how well it
generalizes: training data fit the weights, validation data select the settings, and test data,
evaluated once, measure the selected network.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from veduta.foundations.arrays import Array, Integers, require, require_labels
from veduta.foundations.stopping import optimal_epoch


def split(
    samples: int, fractions: Sequence[float] = (0.8, 0.2), *, rng: np.random.Generator
) -> list[Integers]:
    r"""Section 3: a random partition of the samples into disjoint subsets.

    Args:
        samples: number of samples.
        fractions: fraction of the samples in each subset.
        rng: random generator.

    Returns:
        The sample indices of each subset.

    Raises:
        ValueError: the fractions do not sum to 1, or a subset would be empty.

    >>> [len(subset) for subset in split(10, (0.6, 0.2, 0.2), rng=np.random.default_rng(0))]
    [6, 2, 2]
    """
    valid = min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-9
    require(valid, "fractions must be positive and sum to 1", list(fractions))
    ends = np.rint(np.cumsum(fractions) * samples).astype(np.int64)
    subsets = np.split(rng.permutation(samples), ends[:-1])
    sizes = [len(subset) for subset in subsets]
    require(min(sizes) > 0, "every subset must have at least one sample", sizes)
    return subsets


def split_into_folds(
    samples: int, count: int, *, rng: np.random.Generator
) -> Iterator[tuple[Integers, Integers]]:
    r"""Section 3, cross-validation: splits in which every sample is held out exactly once.

    Args:
        samples: number of samples.
        count: number of folds.
        rng: random generator.

    Yields:
        The indices of the training samples and of the held-out samples of each fold.

    >>> rng = np.random.default_rng(0)
    >>> [(len(train), len(held_out)) for train, held_out in split_into_folds(5, 2, rng=rng)]
    [(2, 3), (3, 2)]
    """
    require(2 <= count <= samples, f"the number of folds must lie in 2..{samples}", count)
    folds = np.array_split(rng.permutation(samples), count)
    for i, held_out in enumerate(folds):
        yield np.concatenate(folds[:i] + folds[i + 1 :]), held_out


def generalization_gap(train: float, validation: float) -> float:
    r"""Section 3: training accuracy minus validation accuracy.

    >>> round(generalization_gap(train=0.99, validation=0.86), 2)
    0.13
    """
    valid = 0 <= train <= 1 and 0 <= validation <= 1
    require(valid, "accuracies must lie in [0, 1]", f"{train} and {validation}")
    return train - validation


def overfits(train: float, validation: float, *, limit: float = 0.1) -> bool:
    r"""Section 3: a network overfits if its generalization gap exceeds a limit.

    >>> overfits(train=0.99, validation=0.86), overfits(train=0.90, validation=0.86)
    (True, False)
    """
    return generalization_gap(train, validation) > limit


def underfits(train: float, *, limit: float = 0.6) -> bool:
    r"""Section 3: a network underfits if its training accuracy is below a limit.

    >>> underfits(train=0.4), underfits(train=0.99)
    (True, False)
    """
    require(0 <= train <= 1, "accuracies must lie in [0, 1]", train)
    return train < limit


def find_overfitting_epoch(
    train_losses: Sequence[float], validation_losses: Sequence[float]
) -> int | None:
    r"""Section 3: the epoch after which only the training loss improves, or None.

    >>> find_overfitting_epoch([0.9, 0.5, 0.3, 0.2], [0.9, 0.6, 0.7, 0.8])
    2
    """
    lengths = len(train_losses), len(validation_losses)
    rule = "there must be as many training losses as validation losses"
    require(lengths[0] == lengths[1], rule, lengths)
    best = optimal_epoch(validation_losses)
    return best if min(train_losses[best:], default=np.inf) < train_losses[best - 1] else None


def top_k_accuracy(scores: Array, labels: Integers, *, k: int) -> float:
    r"""Section 4.9: the fraction of samples whose label is among the k highest scores.

    Ties are broken in favor of the lower class index.

    Args:
        scores: any increasing function of the class probabilities, (N, classes).
        labels: the true class of each sample, (N,).
        k: number of highest scores that are considered.

    Raises:
        ValueError: k is not in 1..classes, a label is out of range, or a score is NaN.

    >>> scores = np.array([[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]])
    >>> [top_k_accuracy(scores, np.array([2, 0]), k=k) for k in (1, 2)]
    [0.5, 1.0]
    """
    require(scores.ndim == 2, "scores must be (N, classes)", scores.shape)
    samples, classes = scores.shape
    require(samples, "there must be at least one sample", samples)
    require(1 <= k <= classes, f"k must lie in 1..{classes}", k)
    require(not np.isnan(scores).any(), "scores must not be NaN", "NaN")
    require_labels(labels, samples, classes)
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((ranked == labels[:, None]).any(axis=1).mean())


def top_1_accuracy(scores: Array, labels: Integers) -> float:
    r"""Section 4.9: the fraction of samples whose label has the highest score.

    >>> top_1_accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    return top_k_accuracy(scores, labels, k=1)


def top_5_accuracy(scores: Array, labels: Integers) -> float:
    r"""Section 4.9: the fraction of samples whose label is among the five highest scores.

    >>> top_5_accuracy(np.array([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]]), np.array([4]))
    1.0
    """
    return top_k_accuracy(scores, labels, k=5)
