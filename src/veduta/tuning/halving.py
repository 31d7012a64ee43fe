r"""Successive halving: all trials train for a few epochs, the best of them for more, and so on.

The report gives the same advice (section 5): short trials first, then the best one trained longer.
The schedule of a trial spans all of its epochs, and a promoted trial continues from where it
paused, so it equals a trial that was never paused.

Source: K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", 2016 (arXiv 1502.07943).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from veduta.tuning.trials.space import Trial


@dataclass(frozen=True, slots=True)
class HalvingRound:
    """One round of successive halving.

    Attributes:
        number: number of the round, from 0.
        divisor: a trial trains up to its number of epochs divided by this, rounded down.
        reduction_factor: one of this number of trials is promoted to the next round; None in the
            last round.
    """

    number: int
    divisor: int = 1
    reduction_factor: int | None = None

    def find_last_epoch(self, trial: Trial) -> int:
        """Return the epoch after which a trial ends the round."""
        return trial.settings.epochs // self.divisor

    def count_promoted(self, candidates: int) -> int:
        """Return how many of `candidates` trials are promoted, rounded up.

        >>> HalvingRound(0, divisor=9, reduction_factor=3).count_promoted(10)
        4
        """
        if self.reduction_factor is None:
            return candidates
        return -(-candidates // self.reduction_factor)


def plan_halving_rounds(
    trials: Sequence[Trial], reduction_factor: int | None
) -> list[HalvingRound]:
    """Return the rounds of a search; a single one without halving.

    With n trials of E epochs and reduction factor f, round k of s ends after E / f^(s - k) epochs,
    where s is the largest number with f^s <= n and f^s <= E.

    Args:
        trials: all trials of the search.
        reduction_factor: reduction factor of successive halving; None disables halving.
    """
    if reduction_factor is None:
        return [HalvingRound(0)]
    limit = min(len(trials), *(trial.settings.epochs for trial in trials))
    last = 0
    while reduction_factor ** (last + 1) <= limit:
        last += 1
    rounds = [
        HalvingRound(number, reduction_factor ** (last - number), reduction_factor)
        for number in range(last)
    ]
    return [*rounds, HalvingRound(last)]


def count_max_epochs(trials: Sequence[Trial], reduction_factor: int | None) -> int:
    """Return the maximum number of epochs that a search trains, summed over all its trials."""
    total, count, trained = 0, len(trials), {trial.id: 0 for trial in trials}
    for halving_round in plan_halving_rounds(trials, reduction_factor):
        last_epochs = {trial.id: halving_round.find_last_epoch(trial) for trial in trials}
        new_epochs = [last_epochs[trial] - epochs for trial, epochs in trained.items()]
        total += sum(sorted(new_epochs, reverse=True)[:count])
        count, trained = halving_round.count_promoted(count), last_epochs
    return total
