"""Reading of files by threads that hang, and by child processes that are killed."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.command_processes import NETWORKS, TIMEOUT, CommandServer
from veduta.data import files as reading
from veduta.errors import WeightsError
from veduta.networks import unpickle
from veduta.runtime.process import IdleTimer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")


def test_a_file_whose_reading_hangs_is_named_and_the_command_ends(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    """The thread that reads it cannot be stopped."""
    words = ("train", color_folder, *NETWORKS, "--epochs", "1", "--out", "run")
    cold = {"VEDUTA_CACHE": str(tmp_path / "cold")}
    process = command_server.start(tmp_path, *words, fault="hang in reading", environment=cold)
    assert process.wait() == 1
    (line,) = process.read_stderr().splitlines()
    assert line.startswith("error: ")
    assert "within 0.5 s" in line
    assert str(color_folder / "blue" / "000.png") in line
    assert process.list_session() == []
    assert not (tmp_path / "run").exists()
    code, process = command_server.run(tmp_path, *words, environment=cold)
    assert code == 0, process.read_stderr()


def test_slow_files_do_not_count_as_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an artificial clock, a chunk takes longer than the deadline, but no file does."""
    now = [0.0]
    monkeypatch.setattr(reading, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(reading, "MAX_IDLE_SECONDS", 2.5)
    monkeypatch.setattr(reading, "IdleTimer", lambda: IdleTimer(lambda: now[0]))

    def read_slowly(item: int) -> int:
        now[0] += 1
        time.sleep(0.02)  # so that the deadline is checked
        return -item

    assert list(reading.map_in_chunks(read_slowly, range(40), 1)) == [[-n for n in range(40)]]


def test_closing_the_iterator_waits_for_one_file_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file of the second chunk is being read until the iterator is closed."""
    items: list[int] = []
    closed = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, *args: bool, **options: bool) -> None:
            closed.set()
            super().shutdown(*args, **options)

    def read_and_wait(item: int) -> int:
        items.append(item)
        if item >= reading.CHUNK_SIZE:
            closed.wait()
        return item

    monkeypatch.setattr(reading, "ThreadPoolExecutor", Pool)
    chunks = reading.map_in_chunks(read_and_wait, range(10 * reading.CHUNK_SIZE), 1)
    next(chunks)
    chunks.close()
    assert len(items) <= reading.CHUNK_SIZE + 1


def test_a_timeout_error_of_the_function_is_raised_unchanged() -> None:
    def fail(_: int) -> int:
        raise TimeoutError("of the network")

    with pytest.raises(TimeoutError, match="of the network"):
        list(reading.map_in_chunks(fail, [1], 1))


def test_a_killed_child_process_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nkill -9 $$\n")
    interpreter.chmod(0o755)
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04 and so on")
    monkeypatch.setattr(sys, "executable", str(interpreter))
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        unpickle.convert_to_safetensors(tmp_path / "weights.pth", "0" * 64, tmp_path / "cache")
    assert not [*(tmp_path / "cache" / "weights").iterdir()]


def test_a_child_process_ends_with_its_parent() -> None:
    """The parent is killed by SIGKILL and cannot end the child itself."""
    child = (
        "import os, time; from veduta.runtime.process import exit_with_parent; "
        "exit_with_parent(os.getppid()); "
        "print('ready', flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE); "
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + TIMEOUT
    while is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
