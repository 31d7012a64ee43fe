"""What a person sees while work goes on: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pandas as pd
from rich import box
from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from veduta.runtime.process import discard_output
from veduta.tracking.html import visible
from veduta.tracking.leaderboard import Leaderboard

Advance = Callable[[int, int], None]
"""(done, total): how far a stage is."""

REDRAWN = 4  # times a second
LINE_EVERY = 15.0  # seconds between lines of progress where there is no terminal
WIDE = 200  # columns where there is no terminal
BESIDE, EDGE = 3, 1  # characters that a table draws beside each column, and at its edge


class _Terminal(RichConsole):
    """A rich console whose reader may go away, as in `veduta search | head`."""

    def on_broken_pipe(self) -> None:
        """Discard what is printed from now on; the work goes on."""
        discard_output(self.file.fileno())


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed >= 1 else "")


class _Bars(Progress):
    """Bars, and above them the leaderboard of the stage that has one."""

    board: Leaderboard | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.board is not None and self.board.best(1):
            yield self.board.table()
        yield from super().get_renderables()


class Console:
    """Prints to standard output, or to standard error where standard output is for a machine.

    Args:
        stderr: print to standard error.
        quiet: print nothing but warnings.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        self._rich = _Terminal(
            stderr=stderr, quiet=quiet, highlight=False, emoji=False, soft_wrap=True
        )
        if not self._rich.is_terminal:
            self._rich.width = WIDE
        self._warnings = _Terminal(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        self._bars: _Bars | None = None

    def say(self, text: str) -> None:
        """One line of plain text."""
        self._rich.print(Text("\n".join(map(visible, text.split("\n")))))

    def warn(self, text: str) -> None:
        """One line that must not be missed."""
        self._warnings.print(Text.assemble(("warning: ", "yellow"), visible(text)))

    def table(self, table: pd.DataFrame, title: str) -> None:
        """A table, numbers to the right.

        Where it is too wide, nothing is cut: the columns that do not fit stand below, beside the
        first one again. A text that is too wide by itself takes several lines.
        """
        head = Text(visible(title)) if title else None
        for places in _fitting(table, self._rich.width):
            drawn = Table(title=head, title_justify="left", box=box.SIMPLE_HEAD)
            for place in places:
                number = pd.api.types.is_numeric_dtype(table.iloc[:, place])
                drawn.add_column(
                    _cell(table.columns[place]),
                    justify="right" if number else "left",
                    overflow="fold",
                )
            for row in table.iloc[:, places].itertuples(index=False):
                drawn.add_row(*map(_cell, row))
            self._rich.print(drawn)
            head = None

    @contextmanager
    def stage(self, label: str, unit: str, board: Leaderboard | None = None) -> Iterator[Advance]:
        """A long piece of work: yields the callable that tells how far it is. May be nested.

        Args:
            label: what is done.
            unit: of what its progress counts.
            board: shown as long as the work goes on.
        """
        started = time.monotonic()
        done = total = 0
        shown = self._bar if self._rich.is_terminal else self._lines
        with shown(label, unit, board) as show:

            def advance(now_done: int, now_total: int) -> None:
                nonlocal done, total
                done, total = now_done, now_total
                show(done, total)

            yield advance
        seconds = time.monotonic() - started
        if total:
            rate = done / seconds if seconds > 0.1 else 0
            often = f", {rate:,.0f}/s" if rate >= 1 else ""
            self.say(f"{label}: {done:,} {unit} in {seconds:.1f} s{often}")

    @contextmanager
    def _bar(self, label: str, unit: str, board: Leaderboard | None) -> Iterator[Advance]:
        outermost = self._bars is None
        bars = self._bars or _Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=self._rich,
            transient=True,
            refresh_per_second=REDRAWN,
        )
        if outermost:
            self._bars = bars
            bars.start()
        before, bars.board = bars.board, board or bars.board
        task = bars.add_task(label, total=None, unit=unit)
        try:
            yield lambda done, total: bars.update(task, completed=done, total=total)
        finally:
            bars.remove_task(task)
            bars.board = before
            if outermost:
                bars.stop()
                self._bars = None

    @contextmanager
    def _lines(self, label: str, unit: str, board: Leaderboard | None) -> Iterator[Advance]:
        started = last = time.monotonic()

        def show(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= LINE_EVERY and 0 < done < total:
                last = now
                left = (now - started) * (total - done) / done
                more = f"; {board.line()}" if board else ""
                rate = done / (now - started)
                often = f", {rate:,.0f}/s" if rate >= 1 else ""
                self.say(
                    f"{label}: {done:,} of {total:,} {unit}{often}, about {left:.0f} s left{more}"
                )

        yield show


def _fitting(table: pd.DataFrame, width: int) -> Iterator[list[int]]:
    """Numbers of the columns that stand side by side in `width` characters, the first in each."""
    taken = [
        BESIDE
        + max(_cell(value).cell_len for value in (table.columns[place], *table.iloc[:, place]))
        for place in range(table.shape[1])
    ]
    together = [0]
    for place in range(1, len(taken)):
        if len(together) > 1 and EDGE + sum(taken[one] for one in (*together, place)) > width:
            yield together
            together = [0]
        together.append(place)
    yield together


def _cell(value: object) -> Text:
    """A value as one line of plain text: markup is text, and no name can move the cursor."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124 - nan
        return Text("")
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    return Text(visible(value))
