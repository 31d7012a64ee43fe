r"""Early stopping (report section 4.4).

After some epoch the training loss keeps falling while the validation loss rises: the network starts
to memorize its training data. The weights of that epoch are the ones to keep. Epochs are counted
from 1. Production code uses these rules as well.
"""

import math
from collections.abc import Sequence


def optimal_epoch(losses: Sequence[float]) -> int:
    r"""Section 4.4: n^* = \min \arg\min_n C_{\mathrm{validation}}^{(n)}.

    Ties are resolved in favor of the earlier epoch. NaN losses are ignored.

    Args:
        losses: validation loss after each epoch, starting with epoch 1.

    Raises:
        ValueError: there are no losses, or all of them are NaN.

    >>> optimal_epoch([0.9, 0.5, 0.4, 0.4, 0.6])
    3
    """
    candidates = [(loss, epoch) for epoch, loss in enumerate(losses, 1) if not math.isnan(loss)]
    if not candidates:
        raise ValueError(f"losses must contain at least one number; got {list(losses)}")
    return min(candidates)[1]


def should_stop(losses: Sequence[float], patience: int) -> bool:
    r"""Section 4.4: stop after epoch n once n - n^* \ge \mathrm{patience}.

    Args:
        losses: validation loss after each epoch so far.
        patience: number of consecutive epochs without a new lowest loss after which to stop.

    Raises:
        ValueError: patience is below 1.

    >>> should_stop([0.9, 0.5, 0.6], patience=2)
    False
    >>> should_stop([0.9, 0.5, 0.6, 0.5], patience=2)
    True
    """
    if patience < 1:
        raise ValueError(f"patience must be 1 or more epochs; got {patience}")
    best = 0 if all(map(math.isnan, losses)) else optimal_epoch(losses)
    return len(losses) - best >= patience


def gap_exceeds(train: float, validation: float, threshold: float) -> bool:
    r"""Section 4.4: stop once C_{\mathrm{validation}} - C_{\mathrm{train}} > \mathrm{threshold}.

    Args:
        train: training loss, or error rate.
        validation: validation loss, or error rate. It can be below the training loss, for example
            with dropout; the difference is then negative and below any threshold.
        threshold: largest allowed difference, 0 or more.

    Raises:
        ValueError: the threshold is negative.

    >>> gap_exceeds(train=0.01, validation=0.14, threshold=0.1)
    True
    """
    if threshold < 0:
        raise ValueError(f"threshold must be 0 or more; got {threshold}")
    return validation - train > threshold


def reaches_threshold(accuracy: float, threshold: float) -> bool:
    r"""Section 4.4: stop once A_{\mathrm{validation}} \ge \mathrm{threshold}.

    Args:
        accuracy: validation accuracy.
        threshold: sufficient accuracy, in (0, 1].

    Raises:
        ValueError: the threshold is not in (0, 1].

    >>> reaches_threshold(0.9, threshold=0.9)
    True
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be an accuracy in (0, 1]; got {threshold}")
    return accuracy >= threshold
