"""Signals: Ctrl-C once and twice, SIGTERM, a closed terminal or pipe, in every stage of a run.

Commands are forks that lead sessions of their own, see `commands.py`; signals are real, sent when
the journal says that it is time. What is gone on with is a process that was started anew.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.running import HEADS, NETWORKS, Commands, Running
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.journal import Journal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sessions are read from /proc")

GRID = ("--grid", "lr=1e-3,1e-2", "--out", "run")
SEARCH = (*NETWORKS, *GRID, "--epochs", "120", "--checkpoint-seconds", "1000")
ON = "go on with: veduta search --resume run"


def ended(running: Running) -> int:
    """The exit code, with nothing left behind; what would go on for much longer is an error."""
    code = running.code()
    assert running.left_behind() == []
    assert "Traceback" not in running.said()
    return code


def expect_valid(running: Running) -> None:
    """The run is nobody's, its journal is whole, its tables say what the journal says."""
    with Journal.reopened(running.folder / "run" / "journal.jsonl") as journal:
        assert journal.torn == 0
        epochs = sum(event["event"] == "epoch" for event in journal.events)
    assert len(pd.read_csv(running.folder / "run" / "epochs.csv")) == epochs
    trials = pd.read_csv(running.folder / "run" / "trials.csv")
    assert set(trials["status"]) <= {"unfinished", "finished"}


def untimed(path: Path) -> pd.DataFrame:
    return pd.read_csv(path).drop(columns="seconds")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "interrupted by SIGTERM"),
        (signal.SIGHUP, 129, "interrupted by SIGHUP"),
    ],
)
def test_b7_once_in_training_saves_and_says_how_to_go_on(
    forks: Commands, colours: Path, tmp_path: Path, number: int, code: int, said: str
) -> None:
    running = forks.start(tmp_path, "search", colours, *SEARCH)
    running.wait_for_epochs(5)
    running.signal(number)
    assert ended(running) == code
    assert running.said().splitlines()[-1] == f"{said}; {ON}"
    expect_valid(running)
    begun = {e["trial"] for e in running.events() if e["event"] == "epoch"}
    for trial in begun:
        epochs = sum(e.get("trial") == trial for e in running.events() if e["event"] == "epoch")
        found = Checkpoints(tmp_path / "run" / "checkpoints", trial).newest()
        assert found is not None, "it was saved for the signal: the next one was far away"
        assert found.progress["trainings"][0]["epoch"] >= epochs


def test_b7_what_was_interrupted_comes_to_what_it_comes_to_alone(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    """By the very command that it names, in a real process, which is interrupted itself, once."""
    code, whole = forks.run(tmp_path / "whole", "search", colours, *SEARCH)
    assert code == 0, whole.said()
    running = forks.start(tmp_path / "left", "search", colours, *SEARCH)
    running.wait_for_epochs(5)
    running.signal(signal.SIGINT)
    assert ended(running) == 130
    (command,) = [line.partition("go on with: ")[2] for line in running.said().splitlines()[-1:]]
    words = [sys.executable, "-m", "veduta.cli.main", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=running.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((running.folder / "run" / "summary.json").read_text())
    assert summary["resumed"] == 1
    assert summary["test"]["opened"] == 1
    for table in ("trials.csv", "epochs.csv"):
        mine, theirs = (untimed(one.folder / "run" / table) for one in (running, whole))
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def test_b7_heads_that_train_together_are_left_between_two_steps(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    running = forks.start(tmp_path, "search", colours, *HEADS, *GRID, "--epochs", "1000000")
    running.wait_for_epochs(5)
    running.signal(signal.SIGINT)
    assert ended(running) == 130
    assert running.said().splitlines()[-1] == f"interrupted; {ON}"
    expect_valid(running)


def test_b7_twice_stops_at_once_during_a_save(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    running = forks.start(tmp_path, "search", colours, *SEARCH, fault="deaf save")
    running.wait_for_epochs(2)
    running.signal(signal.SIGINT)
    running.wait_for_mark()
    running.signal(signal.SIGINT)
    assert ended(running) == 130
    assert running.said().splitlines()[-1] == f"interrupted; {ON}"
    code, again = forks.run(tmp_path, *ON.split()[4:])
    assert code == 0, again.said()


def test_b7_a_save_that_does_not_come_back_is_not_waited_for(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    running = forks.start(tmp_path, "search", colours, *SEARCH, fault="endless save")
    running.wait_for_epochs(2)
    running.signal(signal.SIGTERM)
    assert ended(running) == 143
    assert running.said().splitlines()[-1] == f"interrupted by SIGTERM; {ON}"


def test_b7_the_same_signal_twice_in_a_moment_is_once(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    """As `timeout` sends it: to the process, then to its group."""
    running = forks.start(tmp_path, "search", colours, *SEARCH, fault="a signal is sent twice")
    running.wait_for_epochs(2)
    running.signal(signal.SIGTERM)
    running.signal(signal.SIGTERM)
    assert ended(running) == 143
    expect_valid(running)


@pytest.mark.parametrize("fault", ["slow decoding", "slow features"])
def test_b7_before_anything_trains(
    forks: Commands, colours: Path, tmp_path: Path, fault: str
) -> None:
    cold = {"VEDUTA_CACHE": str(tmp_path / "cache")}
    words = ("search", colours, *HEADS, *GRID, "--epochs", "2")
    running = forks.start(tmp_path, *words, fault=fault, environment=cold)
    running.wait_for_mark()
    running.signal(signal.SIGINT)
    code = running.code()
    assert code == 130
    images = sum(1 for _ in colours.rglob("*.png"))
    assert len((tmp_path / "mark").read_bytes()) < images, "what was asked for is not done first"
    assert running.left_behind() == []
    begun = (tmp_path / "run").exists()
    assert begun == (fault == "slow features")
    on = ON if begun else "run the same command again"
    assert running.said().splitlines()[-1] == f"interrupted; {on}"
    again = ("search", "--resume", "run") if begun else words
    code, done = forks.run(tmp_path, *again, environment=cold)
    assert code == 0, done.said()


@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_b7_while_the_test_is_opened_the_opening_counts_once(
    forks: Commands, colours: Path, tmp_path: Path, how: str
) -> None:
    cache = {"VEDUTA_CACHE": str(tmp_path / "cache")}
    words = ("search", colours, *HEADS, *GRID, "--epochs", "2")
    fault = f"{how} while the test is opened"
    code, running = forks.run(tmp_path, *words, fault=fault, environment=cache)
    assert code == (130 if how == "interrupted" else -signal.SIGKILL)
    code, running = forks.run(tmp_path, "search", "--resume", "run", environment=cache)
    assert code == 0, running.said()
    test = json.loads((tmp_path / "run" / "summary.json").read_text())["test"]
    assert (test["opened"], test["opened_before"]) == (1, 0)
    assert len((tmp_path / "cache" / "test-openings.jsonl").read_text().splitlines()) == 1
    if how == "killed":
        return
    code, running = forks.run(
        tmp_path, "train", colours, *HEADS, "--epochs", "1", "--out", "other", environment=cache
    )
    assert code == 0
    other = json.loads((tmp_path / "other" / "summary.json").read_text())["test"]
    assert (other["opened"], other["opened_before"]) == (1, 1)


def test_b7_after_the_last_event_the_page_is_drawn_by_going_on(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    words = ("search", colours, *HEADS, *GRID, "--epochs", "2")
    code, running = forks.run(tmp_path, *words, fault="interrupted before the report")
    assert code == 130
    assert running.said().splitlines()[-1] == f"interrupted; {ON}"
    assert not (tmp_path / "run" / "report.html").exists()
    code, running = forks.run(tmp_path, "search", "--resume", "run")
    assert code == 0
    assert (tmp_path / "run" / "report.html").is_file()


def test_b7_nohup_is_respected(forks: Commands, colours: Path, tmp_path: Path) -> None:
    running = forks.start(tmp_path, "search", colours, *SEARCH, fault="hang-up is ignored")
    running.wait_for_epochs(2)
    running.signal(signal.SIGHUP)
    running.wait_for_epochs(len([e for e in running.events() if e["event"] == "epoch"]) + 5)
    running.signal(signal.SIGINT)
    assert ended(running) == 130


def test_b7_in_python_an_interrupt_is_keyboard_interrupt(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    tiny = {"model": "cnn", "weights": "none", "channels": "4x4", "image_size": 16, "epochs": 10**6}
    more = {"library": True, "data": str(colours), "settings": tiny}
    running = forks.start(tmp_path, **more)
    running.wait_for_epochs(2)
    running.signal(signal.SIGINT)
    running.code()
    assert (tmp_path / "mark").read_text() == "KeyboardInterrupt"
    expect_valid(running)


class Terminal:
    """A pseudo-terminal, and what was shown on it."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        self.name = os.ttyname(self._slave)
        self.shown = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self.shown += os.read(self.master, 4096)
            except OSError:
                return

    def given_away(self) -> None:
        """The command has opened it."""
        os.close(self._slave)


@pytest.mark.parametrize("end", ["ctrl-c", "closed"])
def test_b7_a_terminal(forks: Commands, colours: Path, tmp_path: Path, end: str) -> None:
    terminal = Terminal()
    running = forks.start(tmp_path, "search", colours, *SEARCH, terminal=terminal.name)
    (tmp_path / "err").touch()
    running.wait_for_epochs(2)
    terminal.given_away()
    if end == "closed":
        os.close(terminal.master)
        assert ended(running) == 129
    else:
        os.write(terminal.master, b"\x03")
        assert ended(running) == 130
        shown = terminal.shown.decode()
        assert ON in shown
        assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l"), "the cursor is back"
        os.close(terminal.master)
    expect_valid(running)


def test_b7_a_closed_pipe_is_quiet_in_every_command(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    """Nobody reads what is printed: that is no fault of the work, which ends as it would."""
    fast = (*NETWORKS, "--epochs", "2")
    image = colours / "red" / "000.png"
    for words in (
        ("search", colours, *fast, *GRID),
        ("train", colours, *fast, "--out", "train", "--json"),
        ("train", colours, "--preview", *fast[:-2], "--augment", "flip", "--out", "preview"),
        ("lr-find", colours, *fast, "--out", "found"),
        ("predict", "run", image),
        ("evaluate", "run", colours),
        ("compare", "run", "train"),
        ("explain", "run", image),
        ("report", "run"),
        ("models",),
        ("cache",),
        ("equations", "14"),
        ("--help",),
    ):
        code, running = forks.run(tmp_path, *words, unread=True)
        assert code == 0, (words, running.said())
        for word in ("Traceback", "Broken", "ignored"):
            assert word not in running.said(), (words, running.said())
        assert running.left_behind() == []


def test_b7_head_reads_the_first_line_alone() -> None:
    command = [sys.executable, "-m", "veduta.cli.main", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("words", "stream", "code", "said"),
    [
        ("models", ">/dev/full", 1, "error: what is printed must have room"),
        ("train nowhere", ">/dev/full", 2, "error: data must be a folder"),
        ("train nowhere", ">&-", 2, "error: data must be a folder"),
    ],
)
def test_b7_output_that_is_full_or_was_never_there_is_no_traceback(
    words: str, stream: str, code: int, said: str
) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m veduta.cli.main {words} {stream}"
    done = subprocess.run(
        ["sh", "-c", command], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(said)
    assert done.returncode == code
