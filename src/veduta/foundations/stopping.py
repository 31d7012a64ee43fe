r"""Early stopping (report section 4.4).

Past some epoch the training loss keeps falling while the validation loss rises: the net has begun
to memorise. That epoch is the one to keep. Epochs count from 1; the rules are production's too.
"""

import math
from collections.abc import Sequence


def optimal_epoch(losses: Sequence[float]) -> int:
    r"""Section 4.4: n^* = \min \arg\min_n C_{\mathrm{validation}}^{(n)}.

    A tie goes to the earlier epoch: the same loss for less training. A loss that is not a number
    is never the smallest one.

    Args:
        losses: validation loss after each epoch, the first entry belonging to epoch 1.

    Raises:
        ValueError: there is no epoch to choose from, or every loss is NaN.

    >>> optimal_epoch([0.9, 0.5, 0.4, 0.4, 0.6])
    3
    """
    usable = [(loss, epoch) for epoch, loss in enumerate(losses, 1) if not math.isnan(loss)]
    if not usable:
        raise ValueError(
            f"optimal_epoch needs at least one loss that is a number; got {list(losses)}"
        )
    return min(usable)[1]


def should_stop(losses: Sequence[float], patience: int) -> bool:
    r"""Section 4.4: stop after epoch n once n - n^* \ge \mathrm{patience}.

    Args:
        losses: validation loss after each epoch so far.
        patience: how many epochs in a row may pass without a loss strictly below the best.

    Raises:
        ValueError: patience is below 1.

    >>> should_stop([0.9, 0.5, 0.6], patience=2)
    False
    >>> should_stop([0.9, 0.5, 0.6, 0.5], patience=2)
    True
    """
    if patience < 1:
        raise ValueError(f"patience is a number of epochs, at least 1; got {patience}")
    best = 0 if all(map(math.isnan, losses)) else optimal_epoch(losses)
    return len(losses) - best >= patience


def gap_exceeds(train: float, validation: float, threshold: float) -> bool:
    r"""Section 4.4: stop once C_{\mathrm{validation}} - C_{\mathrm{train}} > \mathrm{threshold}.

    Both are losses, or shares of wrong answers. A validation loss below the training loss, which
    dropout brings about, is no reason to stop.

    Raises:
        ValueError: the threshold is negative.

    >>> gap_exceeds(train=0.01, validation=0.14, threshold=0.1)
    True
    """
    if threshold < 0:
        raise ValueError(f"threshold is a distance, 0 or larger; got {threshold}")
    return validation - train > threshold


def reaches(accuracy: float, threshold: float) -> bool:
    r"""Section 4.4: stop once A_{\mathrm{validation}} \ge \mathrm{threshold}.

    Args:
        accuracy: share of right answers on the validation samples.
        threshold: the share that is enough, in (0, 1].

    Raises:
        ValueError: the threshold is no share above 0.

    >>> reaches(0.9, threshold=0.9)
    True
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a share of right answers in (0, 1]; got {threshold}")
    return accuracy >= threshold
