"""Settings of the process that must stand before torch is loaded, and how it ends.

Measured on two cores: idle OpenMP threads that spin cost a factor of 2 to 6 as soon as two pools
share the cores; glibc's habit of returning large blocks to the kernel at every step costs 1.2 to
2.2 in training. Both are settings, and both are read once, when the libraries start.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

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
