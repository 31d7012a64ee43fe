"""Handling of Ctrl-C, SIGTERM and a closed terminal; no other module handles signals.

The command line installs the handlers for its whole process; in a Python program that calls Veduta,
Ctrl-C raises KeyboardInterrupt as usual.

The first signal raises `Interrupted` in the main thread: training ends with the current step and is
saved, tables are written, locks are released. A second signal, or `GRACE_SECONDS` without an end,
exits the process immediately; its files are valid then, as after any kill. A separate thread
receives the signals too, because the main thread may be in a library call that does not return.
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
EXIT_CODE_BASE: Final = 128
"""Added to a signal's number, this gives the exit code: 130 for Ctrl-C, 143 for SIGTERM, 129 for
SIGHUP, which a terminal sends when it is closed."""

GRACE_SECONDS = 4.0  # time for saving
DUPLICATE_SECONDS = 0.3  # a signal that follows this soon is the same one: `timeout` sends it twice
STANDARD_STREAMS = (1, 2)  # descriptors of output and error
SHOW_CURSOR = b"\x1b[?25h"  # progress bars hide it

_resume_commands: list[str] = []


class Interrupted(BaseException):
    """The user asked the process to end; no `Exception`, so that no error handler catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(_format_message(number))
        self.exit_code = EXIT_CODE_BASE + number


@contextmanager
def announce_resume_command(command: str) -> Iterator[None]:
    """Name the command that resumes the work inside the block, if it is interrupted."""
    _resume_commands.append(command)
    try:
        yield
    finally:
        _resume_commands.pop()


def install_signal_handlers() -> None:
    """Handle signals as described in this module from now on.

    Ignored signals stay ignored, as `nohup` and background jobs of a shell expect.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    threading.Thread(target=_watch_signals, args=(read_end,), name="signals", daemon=True).start()
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
    for descriptor in STANDARD_STREAMS:
        try:
            os.write(descriptor, b"")
        except OSError:
            discard_output(descriptor)


def _watch_signals(read_end: int) -> None:
    """Wait for a signal; exit the process at the next one, or when the time for saving is over."""
    first = _read_signal(read_end)
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < GRACE_SECONDS:
        if select.select([read_end], [], [], GRACE_SECONDS - elapsed)[0]:
            _read_signal(read_end)
            if time.monotonic() - start > DUPLICATE_SECONDS:
                break
    with suppress(OSError):
        for descriptor in filter(os.isatty, STANDARD_STREAMS):
            os.write(descriptor, SHOW_CURSOR)
        message = f"{_format_message(first)}\n"
        os.write(STANDARD_STREAMS[-1], message.encode(errors="backslashreplace"))
    os._exit(EXIT_CODE_BASE + first)


def _read_signal(read_end: int) -> int:
    """Read the number of the next signal that asks the process to end."""
    while (number := os.read(read_end, 1)[0]) not in SIGNALS:
        pass
    return number


def _format_message(number: int) -> str:
    """Return the message for the user: the signal and the command that resumes the work."""
    name = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    cure = f"resume with: {_resume_commands[-1]}" if _resume_commands else "run the command again"
    return f"interrupted{name}; {cure}"
