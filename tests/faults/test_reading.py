"""Who reads for us: threads that hang on a disk, a child that is killed, a parent that dies."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.process import NETWORKS, TIMEOUT, CommandServer
from veduta.data import files as reading
from veduta.errors import WeightsError
from veduta.networks import unpickle
from veduta.runtime.process import IdleTimer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")


def test_b6_a_file_that_does_not_come_is_named_and_the_command_ends(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    """Though the thread that reads it cannot be ended."""
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


def test_b6_slow_is_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk takes longer than the deadline, each of its files does not, on a clock of its own."""
    now = [0.0]
    monkeypatch.setattr(reading, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(reading, "MAX_IDLE_SECONDS", 2.5)
    monkeypatch.setattr(reading, "IdleTimer", lambda: IdleTimer(lambda: now[0]))

    def slow(item: int) -> int:
        now[0] += 1
        time.sleep(0.02)  # so that somebody looks
        return -item

    assert list(reading.map_in_chunks(slow, range(40), 1)) == [[-n for n in range(40)]]


def test_b6_who_leaves_waits_for_one_file_not_for_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file of the second chunk is under way for as long as nobody leaves."""
    read: list[int] = []
    left = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, *args: bool, **more: bool) -> None:
            left.set()
            super().shutdown(*args, **more)

    def slow(item: int) -> int:
        read.append(item)
        if item >= reading.CHUNK_SIZE:
            left.wait()
        return item

    monkeypatch.setattr(reading, "ThreadPoolExecutor", Pool)
    chunks = reading.map_in_chunks(slow, range(10 * reading.CHUNK_SIZE), 1)
    next(chunks)
    chunks.close()
    assert len(read) <= reading.CHUNK_SIZE + 1


def test_b6_a_timeout_of_the_function_is_its_own() -> None:
    def refused(_: int) -> int:
        raise TimeoutError("of the network")

    with pytest.raises(TimeoutError, match="of the network"):
        list(reading.map_in_chunks(refused, [1], 1))


def test_b6_a_child_that_is_killed_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04 and so on")
    monkeypatch.setattr(unpickle.sys, "executable", str(killed))
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        unpickle.convert_to_safetensors(tmp_path / "weights.pth", "0" * 64, tmp_path / "cache")
    assert not [*(tmp_path / "cache" / "weights").iterdir()]


def test_b6_a_child_dies_with_its_parent() -> None:
    """Even where that is killed by signal 9, and has no time to see to it."""
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
    while _runs(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
