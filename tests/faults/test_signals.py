"""Signals: Ctrl-C once and twice, SIGTERM, a closed terminal or pipe, in every stage of a run.

Commands are forks that lead their own sessions, see `command_server.py`. Signals are real and sent
at a known position in the journal. Runs are resumed by new processes.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.command_processes import HEADS, NETWORKS, CommandProcess, CommandServer
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.events import EpochFinished, events_of_type
from veduta.runs.journal import Journal
from veduta.runs.summary import read_run_summary
from veduta.runs.test_set import LEDGER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sessions are read from /proc")

GRID = ("--grid", "lr=1e-3,1e-2", "--out", "run")
SEARCH = (*NETWORKS, *GRID, "--epochs", "120", "--checkpoint-seconds", "1000")
RESUME = "resume with: veduta search --resume run"


def wait_without_traceback(process: CommandProcess) -> int:
    """Return the exit code; no process remains, and there is no traceback."""
    code = process.wait()
    assert process.list_session() == []
    assert "Traceback" not in process.read_stderr()
    return code


def assert_valid(process: CommandProcess) -> None:
    """Check that no process locks the run, and that its tables agree with its journal."""
    with Journal.reopen(process.folder / "run" / "journal.jsonl") as journal:
        assert journal.torn_bytes == 0
        epochs = len(events_of_type(journal.events, EpochFinished))
    assert len(pd.read_csv(process.folder / "run" / "epochs.csv")) == epochs
    trials = pd.read_csv(process.folder / "run" / "trials.csv")
    assert set(trials["status"]) <= {"unfinished", "finished"}


def list_epochs(process: CommandProcess) -> list[EpochFinished]:
    """Return the epochs in the journal of a run."""
    return events_of_type(process.read_events(), EpochFinished)


def read_untimed(path: Path) -> pd.DataFrame:
    """Return a table without the column of seconds."""
    return pd.read_csv(path).drop(columns="seconds")


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "interrupted by SIGTERM"),
        (signal.SIGHUP, 129, "interrupted by SIGHUP"),
    ],
)
def test_a_signal_saves_the_run_and_prints_the_resume_command(
    command_server: CommandServer,
    color_folder: Path,
    tmp_path: Path,
    number: int,
    code: int,
    message: str,
) -> None:
    process = command_server.start(tmp_path, "search", color_folder, *SEARCH)
    process.wait_for_epochs(5)
    process.send_signal(number)
    assert wait_without_traceback(process) == code
    assert process.read_stderr().splitlines()[-1] == f"{message}; {RESUME}"
    assert_valid(process)
    epochs_by_trial = Counter(event.trial for event in list_epochs(process))
    for trial, epochs in epochs_by_trial.items():
        newest = Checkpoints(tmp_path / "run" / "checkpoints", trial).load_newest()
        assert newest is not None, "it was saved because of the signal"
        assert newest.progress["trainings"][0]["epoch"] >= epochs


def test_an_interrupted_run_resumed_by_the_printed_command_gives_the_same_results(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    code, whole = command_server.run(tmp_path / "whole", "search", color_folder, *SEARCH)
    assert code == 0, whole.read_stderr()
    process = command_server.start(tmp_path / "interrupted", "search", color_folder, *SEARCH)
    process.wait_for_epochs(5)
    process.send_signal(signal.SIGINT)
    assert wait_without_traceback(process) == 130
    (command,) = [
        line.partition("resume with: ")[2] for line in process.read_stderr().splitlines()[-1:]
    ]
    words = [sys.executable, "-m", "veduta.cli.main", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=process.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = read_run_summary(process.folder / "run" / "summary.json")
    assert summary.resume_count == 1
    assert summary.test.evaluations == 1
    for table in ("trials.csv", "epochs.csv"):
        tables = [read_untimed(one.folder / "run" / table) for one in (process, whole)]
        pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)


def test_heads_that_are_trained_together_are_interrupted_between_two_steps(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    process = command_server.start(
        tmp_path, "search", color_folder, *HEADS, *GRID, "--epochs", "1000000"
    )
    process.wait_for_epochs(5)
    process.send_signal(signal.SIGINT)
    assert wait_without_traceback(process) == 130
    assert process.read_stderr().splitlines()[-1] == f"interrupted; {RESUME}"
    assert_valid(process)


def test_a_second_signal_ends_a_save_at_once(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    process = command_server.start(
        tmp_path, "search", color_folder, *SEARCH, fault="hang in save until second signal"
    )
    process.wait_for_epochs(2)
    process.send_signal(signal.SIGINT)
    process.wait_for_marker()
    process.send_signal(signal.SIGINT)
    assert wait_without_traceback(process) == 130
    assert process.read_stderr().splitlines()[-1] == f"interrupted; {RESUME}"
    code, again = command_server.run(tmp_path, *RESUME.split()[3:])
    assert code == 0, again.read_stderr()


def test_a_save_that_hangs_ends_after_the_grace_period(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    process = command_server.start(tmp_path, "search", color_folder, *SEARCH, fault="hang in save")
    process.wait_for_epochs(2)
    process.send_signal(signal.SIGTERM)
    assert wait_without_traceback(process) == 143
    assert process.read_stderr().splitlines()[-1] == f"interrupted by SIGTERM; {RESUME}"


def test_the_same_signal_twice_within_a_moment_counts_once(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    """The command `timeout` sends it to the process and then to its group."""
    process = command_server.start(
        tmp_path, "search", color_folder, *SEARCH, fault="ignore duplicate signals"
    )
    process.wait_for_epochs(2)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert wait_without_traceback(process) == 143
    assert_valid(process)


@pytest.mark.parametrize("fault", ["slow decoding", "hang in features"])
def test_a_signal_before_training_ends_the_command(
    command_server: CommandServer, color_folder: Path, tmp_path: Path, fault: str
) -> None:
    cold = {"VEDUTA_CACHE": str(tmp_path / "cache")}
    words = ("search", color_folder, *HEADS, *GRID, "--epochs", "2")
    process = command_server.start(tmp_path, *words, fault=fault, environment=cold)
    process.wait_for_marker()
    process.send_signal(signal.SIGINT)
    code = process.wait()
    assert code == 130
    images = sum(1 for _ in color_folder.rglob("*.png"))
    assert len((tmp_path / "marker").read_bytes()) < images, "decoding did not continue to its end"
    assert process.list_session() == []
    started = (tmp_path / "run").exists()
    assert started == (fault == "hang in features")
    cure = RESUME if started else "run the command again"
    assert process.read_stderr().splitlines()[-1] == f"interrupted; {cure}"
    again = ("search", "--resume", "run") if started else words
    code, done = command_server.run(tmp_path, *again, environment=cold)
    assert code == 0, done.read_stderr()


@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_an_interrupted_test_evaluation_counts_once(
    command_server: CommandServer, color_folder: Path, tmp_path: Path, how: str
) -> None:
    cache = {"VEDUTA_CACHE": str(tmp_path / "cache")}
    words = ("search", color_folder, *HEADS, *GRID, "--epochs", "2")
    fault = f"{how} while the test set is evaluated"
    code, process = command_server.run(tmp_path, *words, fault=fault, environment=cache)
    assert code == (130 if how == "interrupted" else -signal.SIGKILL)
    code, process = command_server.run(tmp_path, "search", "--resume", "run", environment=cache)
    assert code == 0, process.read_stderr()
    test = read_run_summary(tmp_path / "run" / "summary.json").test
    assert (test.evaluations, test.previous_evaluations) == (1, 0)
    (ledger,) = (tmp_path / "cache").rglob(LEDGER)
    assert len(ledger.read_text().splitlines()) == 1
    if how == "killed":
        return
    code, process = command_server.run(
        tmp_path,
        "train",
        color_folder,
        *HEADS,
        "--epochs",
        "1",
        "--out",
        "other",
        environment=cache,
    )
    assert code == 0
    other = read_run_summary(tmp_path / "other" / "summary.json").test
    assert (other.evaluations, other.previous_evaluations) == (1, 1)


def test_a_report_that_was_interrupted_is_written_when_the_run_is_resumed(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    words = ("search", color_folder, *HEADS, *GRID, "--epochs", "2")
    code, process = command_server.run(tmp_path, *words, fault="interrupted before the report")
    assert code == 130
    assert process.read_stderr().splitlines()[-1] == f"interrupted; {RESUME}"
    assert not (tmp_path / "run" / "report.html").exists()
    code, process = command_server.run(tmp_path, "search", "--resume", "run")
    assert code == 0
    assert (tmp_path / "run" / "report.html").is_file()


def test_hangup_is_ignored_under_nohup(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    process = command_server.start(tmp_path, "search", color_folder, *SEARCH, fault="ignore hangup")
    process.wait_for_epochs(2)
    process.send_signal(signal.SIGHUP)
    process.wait_for_epochs(len(list_epochs(process)) + 5)
    process.send_signal(signal.SIGINT)
    assert wait_without_traceback(process) == 130


def test_in_python_an_interrupt_raises_keyboard_interrupt(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    tiny = {"model": "cnn", "weights": "none", "channels": "4x4", "image_size": 16, "epochs": 10**6}
    more = {"library": True, "data": str(color_folder), "settings": tiny}
    process = command_server.start(tmp_path, **more)
    process.wait_for_epochs(2)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert (tmp_path / "marker").read_text() == "KeyboardInterrupt"
    assert_valid(process)


class Terminal:
    """A pseudo-terminal; `output` is what was printed on it."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        self.name = os.ttyname(self._slave)
        self.output = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self.output += os.read(self.master, 4096)
            except OSError:
                return

    def close_slave(self) -> None:
        """Close the end that the command has opened."""
        os.close(self._slave)


@pytest.mark.parametrize("end", ["ctrl-c", "closed"])
def test_ctrl_c_and_a_closed_terminal_end_the_command(
    command_server: CommandServer, color_folder: Path, tmp_path: Path, end: str
) -> None:
    terminal = Terminal()
    process = command_server.start(
        tmp_path, "search", color_folder, *SEARCH, terminal=terminal.name
    )
    (tmp_path / "err").touch()
    process.wait_for_epochs(2)
    terminal.close_slave()
    if end == "closed":
        os.close(terminal.master)
        assert wait_without_traceback(process) == 129
    else:
        os.write(terminal.master, b"\x03")
        assert wait_without_traceback(process) == 130
        output = terminal.output.decode()
        assert RESUME in output
        assert output.rfind("\x1b[?25h") > output.rfind("\x1b[?25l"), "the cursor is visible again"
        os.close(terminal.master)
    assert_valid(process)


def test_no_command_complains_about_a_closed_pipe(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    """The command finishes its work and ends with exit code 0."""
    fast = (*NETWORKS, "--epochs", "2")
    image = color_folder / "red" / "000.png"
    for words in (
        ("search", color_folder, *fast, *GRID),
        ("train", color_folder, *fast, "--out", "train", "--json"),
        ("train", color_folder, "--preview", *fast[:-2], "--augment", "flip", "--out", "preview"),
        ("lr-find", color_folder, *fast, "--out", "lr-range"),
        ("predict", "run", image),
        ("evaluate", "run", color_folder),
        ("compare", "run", "train"),
        ("explain", "run", image),
        ("report", "run"),
        ("models",),
        ("cache",),
        ("equations", "14"),
        ("--help",),
    ):
        code, process = command_server.run(tmp_path, *words, unread=True)
        assert code == 0, (words, process.read_stderr())
        for word in ("Traceback", "Broken", "ignored"):
            assert word not in process.read_stderr(), (words, process.read_stderr())
        assert process.list_session() == []


def test_a_reader_that_closes_the_pipe_early_ends_the_command_quietly() -> None:
    command = [sys.executable, "-m", "veduta.cli.main", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("words", "stream", "code", "message"),
    [
        ("models", ">/dev/full", 1, "error: standard output needs free disk space"),
        ("train nowhere", ">/dev/full", 2, "error: data must be a folder"),
        ("train nowhere", ">&-", 2, "error: data must be a folder"),
    ],
)
def test_a_full_or_closed_standard_output_gives_one_line(
    words: str, stream: str, code: int, message: str
) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m veduta.cli.main {words} {stream}"
    done = subprocess.run(
        ["sh", "-c", command], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(message)
    assert done.returncode == code
