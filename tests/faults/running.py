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

from veduta.runs.journal import Event, read_journal

LONGEST = 60.0  # seconds that a test waits before it calls something hung
NETWORKS = (
    *("--model", "cnn", "--freeze", "none", "--weights", "none", "--channels", "4x4"),
    *("--image-size", "16", "--batch-size", "8", "--augment", "none"),
)
HEADS = (
    *("--model", "cnn", "--weights", "none", "--channels", "4x4", "--image-size", "16"),
    *("--engine", "torch"),
)


@dataclass(slots=True)
class Running:
    """A command at work, the leader of a session of its own.

    Attributes:
        pid: of its process.
        folder: it runs in.
    """

    pid: int
    folder: Path
    _answers: IO[str]

    def events(self, name: str = "run") -> list[Event]:
        """What the journal in the run directory says so far; nothing where there is none."""
        path = self.folder / name / "journal.jsonl"
        return read_journal(path) if path.is_file() else []

    def wait_for(self, met: Callable[[], object]) -> None:
        """Wait until a condition is met."""
        until = time.monotonic() + LONGEST
        while not met():
            assert time.monotonic() < until, "it never came to that"
            assert Path(f"/proc/{self.pid}").exists(), self.said()
            time.sleep(0.002)

    def wait_for_epochs(self, count: int) -> None:
        """Wait until so many epochs are journalled."""
        self.wait_for(lambda: [e["event"] for e in self.events()].count("epoch") >= count)

    def wait_for_mark(self) -> None:
        """Wait until it has come to where a fault was put."""
        self.wait_for((self.folder / "mark").exists)

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def code(self) -> int:
        """Wait for its end: its exit code, or less than 0 the signal that killed it."""
        if not select.select([self._answers], [], [], LONGEST)[0]:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"it does not end; {self.said()}")
        return int(json.loads(self._answers.readline())["code"])

    def said(self) -> str:
        """What it wrote to standard error."""
        return (self.folder / "err").read_text()

    def left_behind(self) -> list[str]:
        """The processes of its session that are still there, by name."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, _, rest = stat.read_text().rpartition(")")
            except OSError:
                continue
            if int(rest.split()[3]) == self.pid:
                found.append(name)
        return found


class Commands:
    """The program that forks them."""

    def __init__(self, cache: Path) -> None:
        threads = {"OMP_NUM_THREADS": "1", "VEDUTA_CACHE": str(cache)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.commands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **threads},
        )

    def start(self, folder: Path, *words: str | Path, **more: Any) -> Running:
        """Start a command in `folder`; `more` is what `commands.run_command` takes besides."""
        assert self.process.stdin
        assert self.process.stdout
        folder.mkdir(exist_ok=True)
        (folder / "mark").unlink(missing_ok=True)
        request = {"folder": str(folder), "words": [str(word) for word in words], **more}
        self.process.stdin.write(json.dumps(request) + "\n")
        answer = json.loads(self.process.stdout.readline())
        return Running(answer["pid"], folder, self.process.stdout)

    def run(self, folder: Path, *words: str | Path, **more: Any) -> tuple[int, Running]:
        """Run a command to its end; its exit code."""
        running = self.start(folder, *words, **more)
        return running.code(), running


@contextmanager
def commands(cache: Path) -> Iterator[Commands]:
    """The program, for as long as it is needed."""
    found = Commands(cache)
    try:
        yield found
    finally:
        assert found.process.stdin
        assert found.process.stdout
        found.process.stdin.close()
        found.process.wait(timeout=LONGEST)
        found.process.stdout.close()
