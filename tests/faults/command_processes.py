"""Commands of `veduta` that tests start, watch by their journals, and send signals to."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from veduta.runs.events import EpochFinished, Event, events_of_type
from veduta.runs.journal import read_journal

TIMEOUT = 60.0
"""Seconds after which a test considers a process hung."""

NETWORKS = (
    *("--model", "cnn", "--freeze", "none", "--weights", "none", "--channels", "4x4"),
    *("--image-size", "16", "--batch-size", "8", "--augment", "none"),
)
"""Options of a small network that is trained from scratch."""

HEADS = (
    *("--model", "cnn", "--weights", "none", "--channels", "4x4", "--image-size", "16"),
    *("--engine", "torch"),
)
"""Options of a head on a small frozen backbone."""


@dataclass(slots=True)
class CommandProcess:
    """The process of a command, the leader of its own session.

    Attributes:
        pid: process id.
        folder: working directory.
    """

    pid: int
    folder: Path
    _answers: IO[str]

    def read_events(self, name: str = "run") -> list[Event]:
        """Return the events in the journal of a run directory; none if there is no journal."""
        path = self.folder / name / "journal.jsonl"
        return read_journal(path) if path.is_file() else []

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true; fail if the process ends before."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, "the condition did not become true"
            assert Path(f"/proc/{self.pid}").exists(), self.read_stderr()
            time.sleep(0.002)

    def wait_for_epochs(self, count: int) -> None:
        """Wait until the journal has this number of epochs."""
        self.wait_until(lambda: len(events_of_type(self.read_events(), EpochFinished)) >= count)

    def wait_for_marker(self) -> None:
        """Wait until the process reaches the injected fault."""
        self.wait_until((self.folder / "marker").exists)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for the end; return the exit code, or minus the signal that killed the process."""
        if not select.select([self._answers], [], [], TIMEOUT)[0]:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"the process does not end; {self.read_stderr()}")
        return int(json.loads(self._answers.readline())["code"])

    def read_stderr(self) -> str:
        """Return what the process wrote to standard error."""
        return (self.folder / "err").read_text()

    def list_session(self) -> list[str]:
        """Return the names of the processes that remain in the session."""
        names = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, _, rest = stat.read_text().rpartition(")")
            except OSError:
                continue
            if int(rest.split()[3]) == self.pid:
                names.append(name)
        return names


class CommandServer:
    """The client of `tests.faults.command_server`."""

    def __init__(self, cache: Path) -> None:
        environment = {"OMP_NUM_THREADS": "1", "VEDUTA_CACHE": str(cache)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.command_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **environment},
        )

    def start(self, folder: Path, *words: str | Path, **options: Any) -> CommandProcess:
        """Start a command in `folder`; `options` are those of `command_server.run_command`."""
        assert self.process.stdin
        assert self.process.stdout
        folder.mkdir(exist_ok=True)
        (folder / "marker").unlink(missing_ok=True)
        request = {"folder": str(folder), "words": [str(word) for word in words], **options}
        self.process.stdin.write(json.dumps(request) + "\n")
        answer = json.loads(self.process.stdout.readline())
        return CommandProcess(answer["pid"], folder, self.process.stdout)

    def run(self, folder: Path, *words: str | Path, **options: Any) -> tuple[int, CommandProcess]:
        """Run a command to its end; return its exit code and its process."""
        process = self.start(folder, *words, **options)
        return process.wait(), process


@contextmanager
def start_command_server(cache: Path) -> Iterator[CommandServer]:
    """Start the server and stop it at the end."""
    server = CommandServer(cache)
    try:
        yield server
    finally:
        assert server.process.stdin
        assert server.process.stdout
        server.process.stdin.close()
        server.process.wait(timeout=TIMEOUT)
        server.process.stdout.close()
