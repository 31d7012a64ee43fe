"""Process settings that must be made before torch is loaded, crash logs and hang detection."""

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
KEEP = 2**31 - 1
PAD = 256 * 2**20
PR_SET_PDEATHSIG = 1  # from linux/prctl.h
TILE = "tile"  # the name of a thread that trains

TRACING = threading.RLock()
"""Held while `torch.jit.trace` runs: it keeps its state in global variables."""

PLOTTING = threading.RLock()
"""Held while Matplotlib draws: its parameters are global."""


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    """Let torch compute on so many threads.

    How a sum is split among threads decides its last bits, and so what is trained: a run decides
    once. Heads train on one thread, for their steps are small.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare() -> None:
    """Make OpenMP threads wait passively and let malloc keep its memory. Safe to call twice."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if sys.platform == "linux" and "torch" not in sys.modules:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "gnu_get_libc_version"):
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, KEEP)
            libc.mallopt(M_TOP_PAD, PAD)


def die_with(parent: int) -> None:
    """End when the process `parent` ends, however it does, where the system can see to that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            sys.exit(1)


def discard_output(descriptor: int) -> None:
    """Redirect a file descriptor to the null device, because nobody reads its output any more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def leave(code: int) -> Never:
    """End the process, without waiting for threads that do not come back.

    One that computes still, though it was given up, would end an interpreter that shuts down.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            discard_output(stream.fileno())  # the interpreter flushes once more when it ends
    others = set(threading.enumerate()) - {threading.main_thread()}
    if any(thread.name == TILE or (code and not thread.daemon) for thread in others):
        os._exit(code)
    sys.exit(code)


@contextmanager
def crash_log(path: Path) -> Iterator[None]:
    """Let a crash of this process inside be told of in `path`; without one no file is left.

    Where Python tells of crashes already, as under pytest, or the file cannot be written, nothing
    changes.
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


def crash_in(path: Path) -> str:
    """What a crash was, in words, where the file at `path` tells of one."""
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[0].removeprefix("Fatal Python error: ") if lines else ""
    return ""


POLL = 1.0  # seconds between two looks


@final
class Idle:
    """Seconds since a count last changed, as somebody sees who looks again and again.

    Time in which nobody looked is not counted: a process that was stopped, and goes on, has not
    hung.

    Args:
        clock: gives seconds.

    >>> times = iter([0.0, 1.0, 2.0, 500.0, 501.0])
    >>> idle = Idle(lambda: next(times))
    >>> [idle.seconds(count) for count in (7, 7, 7, 8)]
    [0.0, 1.0, 3.0, 0.0]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = clock()
        self._count: int | None = None
        self._seconds = 0.0

    def seconds(self, count: int) -> float:
        """Look: how long the count has been what it is now."""
        now = self._clock()
        self._seconds += min(now - self._looked, 2 * POLL)
        self._looked = now
        if count != self._count:
            self._count, self._seconds = count, 0.0
        return self._seconds
