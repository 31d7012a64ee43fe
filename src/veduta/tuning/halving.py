r"""Successive halving: all trials a little, the best of them longer, the best of these to the end.

The report's own advice (section 5): short trials first, then the chosen one trained longer. A trial
is the same at whatever rung it is looked at: its schedule spans all of its epochs, and it goes on
from where it paused, so one that is promoted equals one that was never paused.

Source: K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", 2016 (arXiv 1502.07943).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from veduta.tuning.trials.space import Trial


@dataclass(frozen=True, slots=True)
class Rung:
    """One round.

    Attributes:
        number: from 0.
        share: the epochs of a trial are divided by this, rounded down; 1 in the last round.
        keep: of so many trials one goes on to the next round; None after the last.
    """

    number: int
    share: int = 1
    keep: int | None = None

    def epochs(self, trial: Trial) -> int:
        """How many epochs a trial has by the end of the round."""
        return trial.settings.epochs // self.share

    def promoted(self, count: int) -> int:
        """How many of `count` trials go on; one at least.

        >>> Rung(0, share=9, keep=3).promoted(10)
        4
        """
        return count if self.keep is None else -(-count // self.keep)


def rungs(trials: Sequence[Trial], factor: int | None) -> list[Rung]:
    """The rounds of a search: as many as trials and epochs allow, one without halving.

    Of n trials of E epochs, round k of s has E / factor^(s - k) epochs; s is the largest number
    with factor^s <= n and factor^s <= E.

    Args:
        trials: of the search.
        factor: of so many trials one goes on, to so many times the epochs; None: all go on.
    """
    if factor is None:
        return [Rung(0)]
    least = min(len(trials), *(trial.settings.epochs for trial in trials))
    count = 0
    while factor ** (count + 1) <= least:
        count += 1
    steps = [Rung(k, share=factor ** (count - k), keep=factor) for k in range(count)]
    return [*steps, Rung(count)]


def most_epochs(trials: Sequence[Trial], factor: int | None) -> int:
    """How many epochs a search trains at most, over all its trials."""
    total, alive, before = 0, len(trials), {trial.id: 0 for trial in trials}
    for rung in rungs(trials, factor):
        upto = {trial.id: rung.epochs(trial) for trial in trials}
        total += sum(sorted((upto[name] - n for name, n in before.items()), reverse=True)[:alive])
        alive, before = rung.promoted(alive), upto
    return total
