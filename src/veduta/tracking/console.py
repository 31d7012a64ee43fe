"""Progress and messages on a terminal, and the leaderboard of a running search."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import nlargest
from typing import final

import pandas as pd
from rich import box
from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from veduta.runtime.process import discard_output
from veduta.tracking.text import make_visible
from veduta.types import Progress

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


REFRESH_RATE = 4  # times per second
LINE_INTERVAL = 15.0  # seconds between lines of progress without a terminal
WIDTH = 200  # characters per line without a terminal
COLUMN_PADDING, TABLE_EDGE = 3, 1  # characters that a table draws beside each column, at its edge


class _Terminal(RichConsole):
    """A rich console whose reader may close the pipe, as in `veduta search | head`."""

    def on_broken_pipe(self) -> None:
        """Discard all further output; the command continues."""
        discard_output(self.file.fileno())


class _Rate(ProgressColumn):
    """The column of the number of units per second."""

    def render(self, task: Task) -> Text:
        """Return the rate, empty below 1 per second."""
        speed = task.finished_speed or task.speed or 0
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed >= 1 else "")


class _Bars(Bars):
    """Progress bars, and above them the leaderboard of the stage that has one."""

    board: Leaderboard | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the leaderboard and the bars."""
        if self.board is not None and self.board.list_best(1):
            yield self.board.build_table()
        yield from super().get_renderables()


class Console:
    """Prints to standard output, or to standard error where a program reads standard output.

    Args:
        stderr: Whether to print to standard error.
        quiet: Whether to print nothing but warnings.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        self._rich = _Terminal(
            stderr=stderr, quiet=quiet, highlight=False, emoji=False, soft_wrap=True
        )
        if not self._rich.is_terminal:
            self._rich.width = WIDTH
        self._warnings = _Terminal(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        self._bars: _Bars | None = None

    def say(self, text: str) -> None:
        """Print plain text."""
        self._rich.print(Text("\n".join(map(make_visible, text.split("\n")))))

    def warn(self, text: str) -> None:
        """Print a warning to standard error."""
        self._warnings.print(Text.assemble(("warning: ", "yellow"), make_visible(text)))

    def table(self, table: pd.DataFrame, title: str) -> None:
        """Print a table, numbers aligned to the right.

        Nothing of a table that is too wide is cut: the columns that do not fit are printed below
        as another table that repeats the first column. A cell that is too wide is wrapped.
        """
        heading = Text(make_visible(title)) if title else None
        for columns in _split_columns(table, self._rich.width):
            block = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD)
            for column in columns:
                is_number = pd.api.types.is_numeric_dtype(table.iloc[:, column])
                block.add_column(
                    _format_cell(table.columns[column]),
                    justify="right" if is_number else "left",
                    overflow="fold",
                )
            for row in table.iloc[:, columns].itertuples(index=False):
                block.add_row(*map(_format_cell, row))
            self._rich.print(block)
            heading = None

    @contextmanager
    def stage(self, label: str, unit: str, board: Leaderboard | None = None) -> Iterator[Progress]:
        """Show the progress of long work; yields the function that reports it. May be nested.

        Args:
            label: Name of the work.
            unit: Unit of its progress, such as images.
            board: Leaderboard shown during the work.
        """
        started = time.monotonic()
        done = total = 0
        show_progress = self._show_bar if self._rich.is_terminal else self._print_lines
        with show_progress(label, unit, board) as show:

            def report_progress(units_done: int, units_total: int, /) -> None:
                nonlocal done, total
                done, total = units_done, units_total
                show(done, total)

            yield report_progress
        seconds = time.monotonic() - started
        if total:
            rate = _format_rate(done / seconds if seconds > 0.1 else 0)
            self.say(f"{label}: {done:,} {unit} in {seconds:.1f} s{rate}")

    @contextmanager
    def _show_bar(self, label: str, unit: str, board: Leaderboard | None) -> Iterator[Progress]:
        outermost = self._bars is None
        bars = self._bars or _Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=self._rich,
            transient=True,
            refresh_per_second=REFRESH_RATE,
        )
        if outermost:
            self._bars = bars
            bars.start()
        previous_board, bars.board = bars.board, board or bars.board
        task = bars.add_task(label, total=None, unit=unit)
        try:
            yield lambda done, total: bars.update(task, completed=done, total=total)
        finally:
            bars.remove_task(task)
            bars.board = previous_board
            if outermost:
                bars.stop()
                self._bars = None

    @contextmanager
    def _print_lines(self, label: str, unit: str, board: Leaderboard | None) -> Iterator[Progress]:
        started = last = time.monotonic()

        def show(done: int, total: int, /) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= LINE_INTERVAL and 0 < done < total:
                last = now
                remaining = (now - started) * (total - done) / done
                leader = f"; {board.format_line()}" if board else ""
                rate = _format_rate(done / (now - started))
                self.say(
                    f"{label}: {done:,} of {total:,} {unit}{rate}, "
                    f"about {remaining:.0f} s left{leader}"
                )

        yield show


def _format_rate(rate: float) -> str:
    """Return the number of units per second as text, empty below 1."""
    return f", {rate:,.0f}/s" if rate >= 1 else ""


def _split_columns(table: pd.DataFrame, width: int) -> Iterator[list[int]]:
    """Yield the columns that fit side by side into `width` characters, each time with the first."""
    widths = [
        COLUMN_PADDING
        + max(_format_cell(value).cell_len for value in (name, *table.iloc[:, column]))
        for column, name in enumerate(table.columns)
    ]
    block = [0]
    for column in range(1, len(widths)):
        needed = TABLE_EDGE + sum(widths[other] for other in (*block, column))
        if len(block) > 1 and needed > width:
            yield block
            block = [0]
        block.append(column)
    yield block


def _format_cell(value: object) -> Text:
    """Return a value as one line of plain text, without markup and control characters."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124 - NaN
        return Text("")
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    return Text(make_visible(value))
