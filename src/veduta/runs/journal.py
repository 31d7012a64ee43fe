"""The truth about a run: one line an event, appended, checked, never rewritten.

A line is a JSON object whose last member is the CRC-32 of what stands before it. Everything else
in a run directory that is a table or a curve is derived from these lines. A process that dies while
it writes leaves at most a torn last line, which is recognised and left out; damage anywhere else
is refused with its line number, because silently skipping it would rewrite history.

Whoever writes a journal holds the kernel's lock on it, which any death releases.
"""

import fcntl
import json
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from veduta.errors import InputError, VedutaError
from veduta.runtime.disk import sync

Event = dict[str, Any]

SYNC_EVERY = 1.0  # seconds: what a power cut may cost; a killed process loses nothing
CHECK = ',"crc32":"%08x"}\n'
CHECK_LENGTH = len(CHECK % 0)


class JournalError(VedutaError):
    """A journal is damaged where no crash of ours can have damaged it."""


def encode(event: Event) -> bytes:
    r"""One event as a checked line.

    >>> encode({"event": "start"})
    b'{"event":"start","crc32":"3dcbb82c"}\n'
    """
    body = json.dumps(event, separators=(",", ":"), allow_nan=False)[:-1].encode()
    return body + (CHECK % zlib.crc32(body)).encode()


def decode(line: bytes) -> Event | None:
    """The event of a line, or None where the line is torn or its check fails."""
    body, check = line[:-CHECK_LENGTH], line[-CHECK_LENGTH:]
    if check != (CHECK % zlib.crc32(body)).encode():
        return None
    event: Event = json.loads(body + b"}")
    return event


def read_journal(path: Path) -> list[Event]:
    """All events of a journal; a torn last line is left out.

    Raises:
        JournalError: a line before the last is damaged.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    events = [decode(line) for line in lines]
    if None in events[:-1]:
        number = events.index(None) + 1
        kept = f", or keep its first {number - 1} lines in a copy of the run" if number > 1 else ""
        raise JournalError(
            f"every line of a journal but the last must be whole; {path}, line {number} is not: "
            f"restore the file{kept}"
        )
    return [event for event in events if event is not None]


def latest_attempts(events: Sequence[Event]) -> list[Event]:
    """Events without those of trials that were begun anew: of each trial, its last attempt.

    >>> first, again = {"event": "trial started", "trial": "t"}, {"event": "trial started"}
    >>> epoch = {"event": "epoch", "trial": "t"}
    >>> len(latest_attempts([first, epoch, first, epoch]))
    2
    """
    begun = {e["trial"]: place for place, e in enumerate(events) if e["event"] == "trial started"}
    return [e for place, e in enumerate(events) if place >= begun.get(e.get("trial", ""), 0)]


class Journal:
    """The journal of one run, open for appending and locked. A context manager.

    Args:
        path: a file that is not there yet; `Journal.reopened` goes on with one that is.

    Attributes:
        events: all there are, those of earlier attempts first.
        torn: bytes of a torn last line that were cut off when it was reopened.
    """

    def __init__(self, path: Path) -> None:
        self._start(path, path.open("xb", buffering=0))
        sync(path.parent)

    @classmethod
    def reopened(cls, path: Path) -> Self:
        """Go on with a journal; a torn last line is cut off.

        Raises:
            InputError: another process is writing it.
            JournalError: a line before the last is damaged.
        """
        journal = cls.__new__(cls)
        journal._start(path, path.open("r+b", buffering=0))
        try:
            journal.events = read_journal(path)
            lines = path.read_bytes().splitlines(keepends=True)
            journal.torn = sum(map(len, lines[len(journal.events) :]))
            journal._file.truncate(journal._file.seek(-journal.torn, os.SEEK_END))
        except BaseException:
            journal._file.close()
            raise
        return journal

    def _start(self, path: Path, file: BinaryIO) -> None:
        self._file = file
        self._synced = time.monotonic()
        self.path = path
        self.torn = 0
        self.events: list[Event] = []
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise InputError(_is_live(path)) from error
        except OSError as error:
            file.close()
            raise InputError(
                "a run directory must be where files can be locked, so that one process at a time "
                f"writes it; {path}: {error.strerror or error}: choose another place"
            ) from error

    def append(self, event: str, **fields: object) -> None:
        """Add one event. Epochs are made durable once a second, everything else at once.

        Raises:
            JournalError: the disk is full, or somebody removed the file.
            OSError: it cannot be written.
        """
        entry = {"event": event, **fields}
        line = encode(entry)
        written = self._file.write(line)
        if written != len(line):
            self._file.seek(self._file.truncate(self._file.tell() - written))
            raise JournalError(f"{self.path}: an event was not written whole; is the disk full?")
        self.events.append(entry)
        if event != "epoch" or time.monotonic() - self._synced > SYNC_EVERY:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()
            if not self.path.exists():  # what is written into a removed file is lost
                raise JournalError(
                    f"a run keeps its directory until it is done; {self.path} was removed while "
                    "it went on: nothing more is saved; start it anew"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def _is_live(path: Path) -> str:
    """The fault of a run that another process is writing; it says its number when it begins."""
    pids = [event["pid"] for event in read_journal(path) if "pid" in event]
    who = f"process {pids[-1]}" if pids else "another process"
    return (
        f"a run is written by one process at a time; {path.parent} is being written by {who}: "
        "wait until it is done, or end it"
    )
