"""Choosing: the winner by validation alone, and the trials that cannot be told from it.

This module knows validation outcomes and nothing of a test set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veduta.metrics.comparison import adjust_p_values, compute_mcnemar_p_value

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished trial came to at its best epoch; `FIGURES` are what the journal keeps."""

    FIGURES: ClassVar = (
        "epochs",
        "best_epoch",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "seconds",
    )

    trial: str
    best_epoch: int
    epochs: int
    cost: int  # numbers trained times epochs trained
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    hits: NDArray[np.bool_]  # (validation images,) whether the best epoch got it right
    stopped: bool = False  # by halving, before its end: others went on in its place

    @property
    def rank(self) -> tuple[float, bool, int]:
        """What outcomes are sorted by: accuracy, then who went on, then cost."""
        return -self.val_accuracy, self.stopped, self.cost


def best_first(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes from the best down: higher validation accuracy, then cheaper, then as they stand.

    They come in canonical order, which `sorted` keeps among equals. A trial that halving stopped
    stands behind its equals that went on: at as many epochs these were no worse.
    """
    return sorted(outcomes, key=lambda one: one.rank)


def tied(outcomes: Sequence[Outcome]) -> list[str]:
    """The trials that McNemar's exact test cannot tell from the winner, cheapest first.

    The test is paired (the same validation images) and its p-values are corrected by Holm's rule
    for the number of comparisons. Not to be told apart is not to be equal: the fewer the images,
    the longer this list.
    """
    winner, *others = best_first(outcomes)
    p_values = adjust_p_values(
        [compute_mcnemar_p_value(winner.hits, other.hits) for other in others]
    )
    equal = [other for other, p in zip(others, p_values, strict=True) if p > LEVEL]
    return [o.trial for o in sorted(equal, key=lambda o: (o.cost, -o.val_accuracy))]
