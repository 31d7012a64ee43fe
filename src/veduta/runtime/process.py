"""Process settings to be made before torch is loaded, thread counts, crash logs, idle timers."""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Never, final

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # names from glibc's malloc.h
TRIM_THRESHOLD = 2**31 - 1  # bytes: memory is never returned to the system
TOP_PAD = 256 * 2**20  # bytes by which the heap grows
PR_SET_PDEATHSIG = 1  # from linux/prctl.h
TILE_THREAD = "tile"  # name of the threads that train

TRACING_LOCK = threading.RLock()
"""Held while `torch.jit.trace` runs: it keeps its state in global variables."""

PLOTTING_LOCK = threading.RLock()
"""Held while Matplotlib draws: its parameters are global."""


@contextmanager
def use_torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads inside the block.

    The split of a sum among threads determines its last bits, and therefore the trained weights: a
    run decides once. Heads train with one thread, because their steps are small.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare_process() -> None:
    """Let OpenMP threads wait passively and malloc keep its memory; may be called repeatedly."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if sys.platform == "linux" and "torch" not in sys.modules:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "gnu_get_libc_version"):
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
            libc.mallopt(M_TOP_PAD, TOP_PAD)


def exit_with_parent(parent: int) -> None:
    """Let the system kill this process when the process `parent` ends; only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            sys.exit(1)


def discard_output(descriptor: int) -> None:
    """Redirect a file descriptor to the null device, because nobody reads its output any more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def exit_process(code: int) -> Never:
    """Exit the process without waiting for threads that do not return.

    A thread that still computes after it was given up would crash an interpreter that shuts down.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            discard_output(stream.fileno())  # the interpreter flushes once more when it exits
    others = set(threading.enumerate()) - {threading.main_thread()}
    if any(thread.name == TILE_THREAD or (code and not thread.daemon) for thread in others):
        os._exit(code)
    sys.exit(code)


@contextmanager
def log_crash(path: Path) -> Iterator[None]:
    """Write a crash of this process inside the block to `path`; without a crash no file is left.

    Nothing is logged if Python's fault handler is in use already, as under pytest, or if the file
    cannot be written.
    """
    file = None
    if not faulthandler.is_enabled():
        with suppress(OSError):
            file = path.open("wb", buffering=0)
    if file is None:
        yield
        return
    with file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            with suppress(OSError):
                path.unlink()


def read_crash_log(path: Path) -> str:
    """Return the kind of crash from the log at `path`; an empty text without a log."""
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[0].removeprefix("Fatal Python error: ") if lines else ""
    return ""


POLL_SECONDS = 1.0  # between two measurements of idle time


@final
class IdleTimer:
    """Measures the seconds since a count last changed.

    Time between two measurements counts for at most twice `POLL_SECONDS`: a process that was
    suspended has not hung.

    Args:
        clock: returns the time in seconds.

    >>> times = iter([0.0, 1.0, 2.0, 500.0, 501.0])
    >>> timer = IdleTimer(lambda: next(times))
    >>> [timer.measure(count) for count in (7, 7, 7, 8)]
    [0.0, 1.0, 3.0, 0.0]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._measured_at = clock()
        self._count: int | None = None
        self._seconds = 0.0

    def measure(self, count: int) -> float:
        """Return the seconds since the count last changed; `count` is its value now."""
        now = self._clock()
        self._seconds += min(now - self._measured_at, 2 * POLL_SECONDS)
        self._measured_at = now
        if count != self._count:
            self._count, self._seconds = count, 0.0
        return self._seconds
