"""Who leads while a search trains: written by the study, read by whatever shows it, when it likes.

The study puts in what it learns, an epoch at a time; whoever draws reads it a few times a second,
from another thread. So nothing is drawn where trials are trained, and nothing waits for a screen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import nlargest

from rich import box
from rich.table import Table
from rich.text import Text

SHOWN = 5  # trials; fewer where there are fewer


@dataclass(frozen=True, slots=True)
class Standing:
    """The best epoch of a trial so far, by validation accuracy; the first among equals."""

    trial: str
    epoch: int
    accuracy: float


@dataclass(slots=True)
class Leaderboard:
    """The standing of every trial that has ended an epoch, and how many trials have ended.

    Args:
        trials: what each trial varies, in words, by its name; all of the search, in the order
            that ties are broken in.
    """

    trials: Mapping[str, str] = field(default_factory=dict)
    _standings: dict[str, Standing] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _failed: set[str] = field(default_factory=set)

    def epoch(self, trial: str, number: int, accuracy: float) -> None:
        """One more epoch of a trial, with its validation accuracy."""
        known = self._standings.get(trial)
        if known is None or accuracy > known.accuracy:
            self._standings[trial] = Standing(trial, number, accuracy)

    def ended(self, trial: str, *, failed: bool) -> None:
        """A trial that has come to its end; one that failed leads no more."""
        self._ended.add(trial)
        if failed:
            self._failed.add(trial)
            self._standings.pop(trial, None)

    def best(self, count: int = SHOWN) -> list[Standing]:
        """The leading trials, the best first."""
        found = dict(self._standings)  # a copy in one step: the study goes on writing
        known = [found[trial] for trial in self.trials if trial in found]
        return nlargest(count, known, key=lambda standing: standing.accuracy)

    def counts(self) -> str:
        """How many trials have ended, and how many of them failed."""
        failed = f", {len(self._failed)} failed" if self._failed else ""
        return f"{len(self._ended):,} of {len(self.trials):,} trials done{failed}"

    def line(self) -> str:
        """All of it in one line."""
        leading = self.best(1)
        if not leading:
            return self.counts()
        (first,) = leading
        what = self.trials[first.trial]
        named = f"{first.trial} ({what})" if what else first.trial
        return f"{self.counts()}; best so far {first.accuracy:.1%}, {named}, epoch {first.epoch}"

    def table(self) -> Table:
        """The leading trials as a table that fits any width: what they vary is cut first."""
        drawn = Table(
            title=Text(self.counts()), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
        )
        drawn.add_column("trial", no_wrap=True, min_width=10)
        drawn.add_column("varied")
        drawn.add_column("epoch", justify="right", no_wrap=True, min_width=5)
        drawn.add_column("validation", justify="right", no_wrap=True, min_width=10)
        for one in self.best():
            what = Text(self.trials[one.trial], overflow="ellipsis", no_wrap=True)
            drawn.add_row(one.trial, what, str(one.epoch), f"{one.accuracy:.1%}")
        return drawn
