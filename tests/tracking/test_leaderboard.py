"""The leaderboard: the best epoch of each trial, the best trial first, at any terminal width."""

import re
import sys
import threading
from io import StringIO

import pytest
from rich.console import Console as RichConsole

from veduta.tracking import console as module
from veduta.tracking.console import Console, Leaderboard, Standing

VARIED = {f"t{number}": f"lr {number}e-3, [b]dropout[/b] 0.{number}" for number in range(8)}


def make_board() -> Leaderboard:
    """Return a leaderboard after three epochs of two trials."""
    board = Leaderboard(VARIED)
    for epoch, (first, second) in enumerate([(0.5, 0.6), (0.7, 0.6), (0.7, 0.5)], 1):
        board.record_epoch("t2", epoch, second)
        board.record_epoch("t1", epoch, first)
    return board


def test_the_first_best_epoch_counts_and_the_best_trial_leads() -> None:
    assert make_board().list_best() == [Standing("t1", 2, 0.7), Standing("t2", 1, 0.6)]
    assert make_board().list_best(1) == [Standing("t1", 2, 0.7)]


def test_ties_are_in_canonical_order() -> None:
    board = Leaderboard(VARIED)
    for trial in ("t3", "t1", "t2"):
        board.record_epoch(trial, 1, 0.5)
    assert [standing.trial for standing in board.list_best(2)] == ["t1", "t2"]


def test_a_failed_trial_is_counted_and_no_longer_listed() -> None:
    board = make_board()
    board.record_end("t1", failed=True)
    board.record_end("t2", failed=False)
    assert [standing.trial for standing in board.list_best()] == ["t2"]
    assert board.format_line() == (
        "2 of 8 trials done, 1 failed; best so far 60.0%, t2 (lr 2e-3, [b]dropout[/b] 0.2), epoch 1"
    )
    assert Leaderboard(VARIED).format_line() == "0 of 8 trials done"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_fits_and_keeps_its_numbers(width: int) -> None:
    board = make_board()
    long = Leaderboard({**VARIED, "t1": "hidden 2000x1000, " * 20})
    for standing in board.list_best():
        long.record_epoch(standing.trial, standing.epoch, standing.accuracy)
    screen = RichConsole(file=StringIO(), width=width, force_terminal=True, color_system=None)
    screen.print(long.build_table())
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    (first,) = [line for line in lines if line.split()[:1] == ["t1"]]
    assert first.split()[-2:] == ["2", "70.0%"]
    (second,) = [line for line in lines if line.split()[:1] == ["t2"]]
    assert width < 80 or "[b]dropout[/b]" in second


def test_a_line_is_printed_from_time_to_time_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
    with Console().stage("training", "epochs", make_board()) as report_progress:
        report_progress(4, 16)
    out = capsys.readouterr().out
    assert re.search(r"training: 4 of 16 epochs, [0-9,]+/s, about", out)
    assert "left; 0 of 8 trials done; best so far 70.0%, t1 (lr 1e-3" in out


def test_the_table_is_above_the_bars_of_its_stage_on_a_terminal() -> None:
    console = Console()
    screen = RichConsole(file=StringIO(), width=80, force_terminal=True)
    console._rich = screen  # type: ignore[assignment]
    with console.stage("training", "epochs", make_board()) as report_progress:
        report_progress(1, 2)
        bars = console._bars
        assert bars is not None
        with screen.capture() as output:
            screen.print(bars.get_renderable())
        with console.stage("features", "images") as inner:
            inner(1, 2)
    screen_text = output.get()
    assert (
        screen_text.index("0 of 8 trials done")
        < screen_text.index("70.0%")
        < screen_text.index("training")
    )
    with console.stage("features", "images"), screen.capture() as output:
        assert console._bars is not None
        screen.print(console._bars.get_renderable())
    assert "trials done" not in output.get()


def test_it_can_be_read_while_it_is_written() -> None:
    board = Leaderboard({f"t{number}": "" for number in range(3000)})
    errors: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                board.list_best()
                board.format_line()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(3000):
        board.record_epoch(f"t{number}", 1, number / 3000)
        board.record_end(f"t{number}", failed=number % 7 == 0)
    done.set()
    reader.join()
    sys.setswitchinterval(interval)
    assert not errors
