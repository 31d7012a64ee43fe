"""Who leads: the best epoch of each trial, the best trial first, and it fits any screen."""

import re
import sys
import threading
from io import StringIO

import pytest
from rich.console import Console as RichConsole

from veduta.tracking import console as module
from veduta.tracking.console import Console
from veduta.tracking.leaderboard import Leaderboard, Standing

VARIED = {f"t{number}": f"lr {number}e-3, [b]dropout[/b] 0.{number}" for number in range(8)}


def board() -> Leaderboard:
    made = Leaderboard(VARIED)
    for epoch, (first, second) in enumerate([(0.5, 0.6), (0.7, 0.6), (0.7, 0.5)], 1):
        made.epoch("t2", epoch, second)
        made.epoch("t1", epoch, first)
    return made


def test_the_first_best_epoch_counts_and_the_best_trial_leads() -> None:
    assert board().best() == [Standing("t1", 2, 0.7), Standing("t2", 1, 0.6)]
    assert board().best(1) == [Standing("t1", 2, 0.7)]


def test_equals_stand_in_the_order_of_the_search() -> None:
    made = Leaderboard(VARIED)
    for trial in ("t3", "t1", "t2"):
        made.epoch(trial, 1, 0.5)
    assert [one.trial for one in made.best(2)] == ["t1", "t2"]


def test_a_trial_that_failed_is_counted_and_leads_no_more() -> None:
    made = board()
    made.ended("t1", failed=True)
    made.ended("t2", failed=False)
    assert [one.trial for one in made.best()] == ["t2"]
    assert made.line() == (
        "2 of 8 trials done, 1 failed; best so far 60.0%, t2 (lr 2e-3, [b]dropout[/b] 0.2), epoch 1"
    )
    assert Leaderboard(VARIED).line() == "0 of 8 trials done"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_fits_and_keeps_its_figures(width: int) -> None:
    made = board()
    long = Leaderboard({**VARIED, "t1": "hidden 2000x1000, " * 20})
    for one in made.best():
        long.epoch(one.trial, one.epoch, one.accuracy)
    screen = RichConsole(file=StringIO(), width=width, force_terminal=True, color_system=None)
    screen.print(long.table())
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    (first,) = [line for line in lines if line.split()[:1] == ["t1"]]
    assert first.split()[-2:] == ["2", "70.0%"]
    (second,) = [line for line in lines if line.split()[:1] == ["t2"]]
    assert width < 80 or "[b]dropout[/b]" in second


def test_on_plain_output_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_EVERY", 0.0)
    with Console().stage("training", "epochs", board()) as advance:
        advance(4, 16)
    out = capsys.readouterr().out
    assert re.search(r"training: 4 of 16 epochs, [0-9,]+/s, about", out)
    assert "left; 0 of 8 trials done; best so far 70.0%, t1 (lr 1e-3" in out


def test_on_a_terminal_the_table_stands_above_the_bars_of_its_stage() -> None:
    console = Console()
    screen = RichConsole(file=StringIO(), width=80, force_terminal=True)
    console._rich = screen
    with console.stage("training", "epochs", board()) as advance:
        advance(1, 2)
        bars = console._bars
        assert bars is not None
        with screen.capture() as seen:
            screen.print(bars.get_renderable())
        with console.stage("features", "images") as inner:
            inner(1, 2)
    drawn = seen.get()
    assert drawn.index("0 of 8 trials done") < drawn.index("70.0%") < drawn.index("training")
    with console.stage("features", "images"), screen.capture() as seen:
        assert console._bars is not None
        screen.print(console._bars.get_renderable())
    assert "trials done" not in seen.get()


def test_it_may_be_read_while_it_is_written() -> None:
    made = Leaderboard({f"t{number}": "" for number in range(3000)})
    wrong: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                made.best()
                made.line()
        except BaseException as error:  # noqa: BLE001
            wrong.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(3000):
        made.epoch(f"t{number}", 1, number / 3000)
        made.ended(f"t{number}", failed=number % 7 == 0)
    done.set()
    reader.join()
    sys.setswitchinterval(before)
    assert not wrong
