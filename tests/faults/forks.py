"""Attempts that are interrupted: forks that are killed, or whose system calls fail.

The calling process has imported everything and computes with one thread, so a fork is cheap and
safe. A fork waits at a pipe until strace is attached, if a system call of it is to fail.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from veduta.errors import VedutaError

CALLS = {
    "write": "?write,?pwrite64",
    "fsync": "?fsync,?fdatasync",
    "rename": "?rename,?renameat,?renameat2",
    "truncate": "?ftruncate,?truncate,?fallocate",
    "unlink": "?unlink,?unlinkat,?rmdir",
    "mkdir": "?mkdir,?mkdirat",
    "open": "?open,?openat",
}
"""Kinds of system calls, and their names in the kernels of all machines."""

KILLED = -signal.SIGKILL
CRASHED = 70
"""Exit code of an attempt that ends with an exception of another class than Veduta's."""

TIMEOUT, POLL_SECONDS = 60.0, 0.0005
PR_SET_PTRACER = 0x59616D61
MEMORY_DISK = Path("/dev/shm")  # noqa: S108 - fsync takes no time in memory

Report = Callable[[str], None]
"""Sends a line from an attempt to the parent process."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The end of an attempt.

    Attributes:
        code: exit code, or -9 if it was killed.
        output: the lines that it reported, the message of its error last.
        log: output of strace.
    """

    code: int
    output: str
    log: bytes

    @property
    def was_hit(self) -> bool:
        """Return whether it was killed, or strace changed the result of a call."""
        return self.code == KILLED or b"(INJECTED)" in self.log


@cache
def explain_missing_strace() -> str | None:
    """Return why strace cannot be used on this machine, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    prctl = f"ctypes.CDLL(None).prctl({PR_SET_PTRACER}, -1, 0, 0, 0)"
    command = [sys.executable, "-uc", f"import ctypes; {prctl}; print(1); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        try:
            tracer = _attach_strace(child.pid, make_strace_options("fsync", "error=EIO"))
        except AssertionError as error:
            return f"strace is not permitted: {error}"
        finally:
            child.communicate(b"\n")
        tracer.communicate()
    return None


def allow_tracing() -> None:
    """Permit processes of the same user to trace this process, where the kernel requires it."""
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, -1, 0, 0, 0)


def create_scratch_folder(parent: Path) -> Path:
    """Return a folder for many small writes: in memory if possible, otherwise `parent`."""
    if os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free > 2**30:
        folder = MEMORY_DISK / f"veduta-{os.getpid()}"
        folder.mkdir()
        return folder
    return parent


def make_strace_options(name: str, fault: str) -> list[str]:
    """Return the options of strace that inject a fault, such as `error=EIO:when=3`, into calls."""
    return ["-e", f"trace={CALLS[name]}", "-e", f"inject={CALLS[name]}:{fault}"]


def run_attempt(
    work: Callable[[Report], None],
    *,
    strace_options: Sequence[str] = (),
    must_die: Callable[[], bool] = lambda: False,
) -> Attempt:
    """Fork, work in the child, and wait for its end.

    Args:
        work: the work of the child.
        strace_options: options of strace, which traces the first thread; empty: no strace.
        must_die: asked repeatedly whether the child is to be killed now.
    """
    read_end, write_end = os.pipe()
    gate, opener = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(opener)
        os.close(read_end)
        allow_tracing()
        os.read(gate, 1)
        os._exit(_work_and_return_code(work, lambda text: _send_line(write_end, text)))
    os.close(write_end)
    os.close(gate)
    with tempfile.NamedTemporaryFile() as log:
        options = ["-o", log.name, *strace_options]
        tracer = _attach_strace(child, options) if strace_options else None
        os.write(opener, b".")
        os.close(opener)
        code = _wait_for_end(child, must_die)
        with os.fdopen(read_end, encoding="utf-8", errors="replace") as lines:
            output = lines.read()
        if tracer is not None:
            tracer.communicate()
        return Attempt(code, output, log.read())


def _work_and_return_code(work: Callable[[Report], None], report: Report) -> int:
    """Work as the command line does and return the exit code."""
    try:
        work(report)
    except VedutaError as error:
        report(str(error))
        return error.exit_code
    except BaseException:  # noqa: BLE001 - reported to the parent process
        report(traceback.format_exc())
        return CRASHED
    return 0


def _send_line(pipe: int, text: str) -> None:
    os.writev(pipe, [f"{text}\n".encode()])  # not one of CALLS, so no fault is injected


def _attach_strace(child: int, options: Sequence[str]) -> "subprocess.Popen[str]":
    """Start strace and return it when it is attached to the child."""
    command = ["strace", *options, "-p", str(child)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    first_line = tracer.stderr.readline()
    assert "attached" in first_line, first_line
    return tracer


def _wait_for_end(child: int, must_die: Callable[[], bool]) -> int:
    """Return the exit code of a child, which is killed if it must die or hangs."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and not must_die():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_SECONDS)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_for_one_thread() -> None:
    """Wait until this process has one thread, because a fork copies only one."""
    deadline = time.monotonic() + TIMEOUT
    while len([*Path("/proc/self/task").iterdir()]) > 1:
        assert time.monotonic() < deadline, "a fork copies only one thread"
        time.sleep(POLL_SECONDS)


def make_deadline(seconds: float) -> Callable[[], bool]:
    """Return a function that returns whether this number of seconds has passed."""
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline
