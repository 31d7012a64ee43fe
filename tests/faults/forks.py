"""Attempts that come to a bad end: forks that are killed, or whose system calls fail.

Whoever uses this has loaded everything already and computes with one thread, so a fork is quick and
safe. A fork waits at a gate until strace holds it, where a system call of its shall fail.
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

CALLS = {  # by the name that a test uses: what the kernels of all machines call it
    "write": "?write,?pwrite64",
    "fsync": "?fsync,?fdatasync",
    "rename": "?rename,?renameat,?renameat2",
    "truncate": "?ftruncate,?truncate,?fallocate",
    "unlink": "?unlink,?unlinkat,?rmdir",
    "mkdir": "?mkdir,?mkdirat",
    "open": "?open,?openat",
}
KILLED = -signal.SIGKILL
CRASHED = 70  # any exception but ours
HANG, PAUSE = 60.0, 0.0005  # seconds: until an attempt has come to nothing, between two looks
PTRACER = 0x59616D61  # of prctl: who may trace
FAST = Path("/dev/shm")  # noqa: S108 - a disk in memory, whose fsync takes no time


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended.

    Attributes:
        code: its exit code, -9 where it was killed.
        told: the message of its error, whatever it told before.
        log: of strace.
    """

    code: int
    told: str
    log: bytes

    @property
    def struck(self) -> bool:
        """Whether it was killed, or strace tampered with a call."""
        return self.code == KILLED or b"(INJECTED)" in self.log


@cache
def no_strace() -> str | None:
    """Why strace cannot be used here, if so."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    code = f"import ctypes; ctypes.CDLL(None).prctl({PTRACER}, -1, 0, 0, 0); print(1); input()"
    words = [sys.executable, "-uc", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        try:
            tracer = _tracer(child.pid, struck("fsync", "error=EIO"))
        except AssertionError as error:
            return f"strace may not trace here: {error}"
        finally:
            child.communicate(b"\n")
        tracer.communicate()
    return None


def be_traced() -> None:
    """Let this process be traced by any of the same user, where that is a right to be given."""
    ctypes.CDLL(None).prctl(PTRACER, -1, 0, 0, 0)


def scratch(parent: Path) -> Path:
    """A folder for many small writes: in memory where there is a disk in memory."""
    if os.access(FAST, os.W_OK) and shutil.disk_usage(FAST).free > 2**30:
        folder = FAST / f"veduta-{os.getpid()}"
        folder.mkdir()
        return folder
    return parent


def struck(name: str, how: str) -> list[str]:
    """What strace is asked: to tamper with calls of a name of `CALLS`, as in `error=EIO:when=3`."""
    return ["-e", f"trace={CALLS[name]}", "-e", f"inject={CALLS[name]}:{how}"]


def attempt(
    work: Callable[[Callable[[str], None]], None],
    *,
    traced: Sequence[str] = (),
    dies: Callable[[], bool] = lambda: False,
) -> Ended:
    """Fork and work.

    Args:
        work: what the fork does; it is handed a function that tells the parent something, a line.
        traced: what strace is asked, if anything, of the calls of its first thread.
        dies: asked again and again whether it is to be killed now.
    """
    listen, tell = os.pipe()
    gate, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.close(listen)
        be_traced()
        os.read(gate, 1)
        os._exit(_code_of(work, lambda text: _told(tell, text)))
    os.close(tell)
    os.close(gate)
    with tempfile.NamedTemporaryFile() as log:
        tracer = _tracer(child, ["-o", log.name, *traced]) if traced else None
        os.write(go, b".")
        os.close(go)
        code = _waited(child, dies)
        with os.fdopen(listen, encoding="utf-8", errors="replace") as said:
            told = said.read()
        if tracer is not None:
            tracer.communicate()
        return Ended(code, told, log.read())


def _code_of(work: Callable[[Callable[[str], None]], None], tell: Callable[[str], None]) -> int:
    """Do the work as the command line does; its exit code."""
    try:
        work(tell)
    except VedutaError as error:
        tell(str(error))
        return error.exit_code
    except BaseException:  # noqa: BLE001 - the parent must hear of it
        tell(traceback.format_exc())
        return CRASHED
    return 0


def _told(pipe: int, text: str) -> None:
    os.writev(pipe, [f"{text}\n".encode()])  # a call that no fault of `CALLS` touches


def _tracer(child: int, options: Sequence[str]) -> "subprocess.Popen[str]":
    """strace, once it holds the child."""
    words = ["strace", *options, "-p", str(child)]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    assert "attached" in said, said
    return tracer


def _waited(child: int, dies: Callable[[], bool]) -> int:
    """The exit code of a child, which is killed when it shall die or hangs."""
    until = time.monotonic() + HANG
    while time.monotonic() < until and not dies():
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(PAUSE)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def expect_one_thread() -> None:
    """A fork copies one thread; those of a search that has ended may need a moment to end too."""
    until = time.monotonic() + HANG
    while len([*Path("/proc/self/task").iterdir()]) > 1:
        assert time.monotonic() < until, "a fork copies one thread"
        time.sleep(PAUSE)


def after(seconds: float) -> Callable[[], bool]:
    """Whether so much time has passed since this was called."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
