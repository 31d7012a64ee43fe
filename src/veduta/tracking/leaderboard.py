"""The leading trials of a search while it trains, written by the study and read by the console.

The study records each epoch; the console reads the leaderboard a few times per second, from another
thread. Training therefore draws nothing and never waits for a screen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import final

from rich import box
from rich.table import Table
from rich.text import Text

LEADING_TRIALS = 5
"""Number of trials that are shown, at most."""


@final
@dataclass(frozen=True, slots=True)
class Standing:
    """The best epoch of a trial so far, by validation accuracy; the first of several."""

    trial: str
    epoch: int
    accuracy: float


@final
@dataclass(slots=True)
class Leaderboard:
    """The best epoch of every trial so far, and the numbers of trials that ended or failed.

    Args:
        trials: Description of the hyperparameters that each trial varies, by trial id; all trials
            of the search in canonical order, which breaks ties.
    """

    trials: Mapping[str, str] = field(default_factory=dict)
    _standings: dict[str, Standing] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _failed: set[str] = field(default_factory=set)

    def record_epoch(self, trial: str, epoch: int, accuracy: float) -> None:
        """Record an epoch of a trial with its validation accuracy."""
        best = self._standings.get(trial)
        if best is None or accuracy > best.accuracy:
            self._standings[trial] = Standing(trial, epoch, accuracy)

    def record_end(self, trial: str, *, failed: bool) -> None:
        """Record the end of a trial; one that failed is no longer listed."""
        self._ended.add(trial)
        if failed:
            self._failed.add(trial)
            self._standings.pop(trial, None)

    def list_best(self, count: int = LEADING_TRIALS) -> list[Standing]:
        """Return the leading trials, the best first."""
        standings = dict(self._standings)  # copied in one step, since the study goes on writing
        in_order = [standings[trial] for trial in self.trials if trial in standings]
        return nlargest(count, in_order, key=lambda standing: standing.accuracy)

    def format_counts(self) -> str:
        """Return the numbers of trials that ended and that failed as text."""
        failed = f", {len(self._failed)} failed" if self._failed else ""
        return f"{len(self._ended):,} of {len(self.trials):,} trials done{failed}"

    def format_line(self) -> str:
        """Return the counts and the best trial as one line."""
        leading = self.list_best(1)
        if not leading:
            return self.format_counts()
        (best,) = leading
        varied = self.trials[best.trial]
        name = f"{best.trial} ({varied})" if varied else best.trial
        return (
            f"{self.format_counts()}; best so far {best.accuracy:.1%}, {name}, epoch {best.epoch}"
        )

    def build_table(self) -> Table:
        """Return the leading trials as a table; on a narrow terminal the varied column is cut."""
        table = Table(
            title=Text(self.format_counts()),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        table.add_column("trial", no_wrap=True, min_width=10)
        table.add_column("varied")
        table.add_column("epoch", justify="right", no_wrap=True, min_width=5)
        table.add_column("validation", justify="right", no_wrap=True, min_width=10)
        for standing in self.list_best():
            varied = Text(self.trials[standing.trial], overflow="ellipsis", no_wrap=True)
            table.add_row(standing.trial, varied, str(standing.epoch), f"{standing.accuracy:.1%}")
        return table
