"""What Ctrl-C, a closed terminal and SIGTERM come to; the only place where signals are handled.

The command line installs it for the life of its process; to whoever calls Veduta from Python,
Ctrl-C stays KeyboardInterrupt.

The first signal raises `Interrupted` in the main thread: what trains comes to the end of its step
and is saved, tables are written, locks are released. A second signal, or `GRACE` seconds, end the
process at once, wherever it is; what it has written is valid then, as after any kill. A thread
hears of signals too, for the main one may be deep in a library that does not come back.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from veduta.runtime.process import discard_output

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT: Final = 128
"""Added to a signal's number it is the exit code: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP,
which a terminal sends when it is closed."""

GRACE = 4.0  # seconds for saving
SAME = 0.3  # seconds in which a second signal is the first one again: `timeout` sends it twice
STANDARD = (1, 2)  # descriptors of output and error
SHOW_CURSOR = b"\x1b[?25h"  # progress bars hide it

_ways_on: list[str] = []


class Interrupted(BaseException):
    """Somebody asked the process to end. No `Exception`: nothing that handles errors handles it."""

    def __init__(self, number: int) -> None:
        super().__init__(_words(number))
        self.exit_code = EXIT + number


@contextmanager
def goes_on_with(command: str) -> Iterator[None]:
    """Say by which command the work inside can be gone on with, where it is interrupted."""
    _ways_on.append(command)
    try:
        yield
    finally:
        _ways_on.pop()


def install() -> None:
    """Handle signals as this module says, from now on.

    What is ignored stays ignored, as nohup and a shell's background jobs ask for.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(heard,), name="signals", daemon=True).start()
    raised = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal raised
        if not raised:
            raised = True
            if number == signal.SIGHUP:
                _discard_lost_output()
            raise Interrupted(number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def _discard_lost_output() -> None:
    """Discard output to a terminal that was closed, where every write fails."""
    for descriptor in STANDARD:
        try:
            os.write(descriptor, b"")
        except OSError:
            discard_output(descriptor)


def _watch(heard: int) -> None:
    """Wait for a signal; end the process at the next one, or when time is up."""
    first = _next(heard)
    since = time.monotonic()
    while (passed := time.monotonic() - since) < GRACE:
        if select.select([heard], [], [], GRACE - passed)[0]:
            _next(heard)
            if time.monotonic() - since > SAME:
                break
    with suppress(OSError):
        for descriptor in filter(os.isatty, STANDARD):
            os.write(descriptor, SHOW_CURSOR)
        os.write(STANDARD[-1], f"{_words(first)}\n".encode(errors="backslashreplace"))
    os._exit(EXIT + first)


def _next(heard: int) -> int:
    """The number of the next signal that asks the process to end."""
    while (number := os.read(heard, 1)[0]) not in SIGNALS:
        pass
    return number


def _words(number: int) -> str:
    """What a user is told."""
    name = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    cure = f"go on with: {_ways_on[-1]}" if _ways_on else "run the same command again"
    return f"interrupted{name}; {cure}"
