"""The journal of a run: one checked line per event, appended and never rewritten."""

import fcntl
import io
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO, Self, final

from veduta.errors import InputError, VedutaError
from veduta.runtime.disk import sync

Event = dict[str, Any]

FORMAT = 1
"""What the events say and how lines are checked; an event that says nothing is of the first."""

CHECK = ',"crc32":"%08x"}\n'
CHECK_LENGTH = len(CHECK % 0)
BEGINS = b'{"event":"'


class JournalError(InputError):
    """A journal is damaged before its last line, or was written by a newer version."""


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """The content of a journal.

    Attributes:
        events: The events of all whole lines.
        torn: Number of bytes after the last whole line.
    """

    events: list[Event]
    torn: int = 0

    def warnings(self) -> list[str]:
        """Return what was left out, in words."""
        if not self.torn:
            return []
        return [f"the end of the journal is torn; its last {self.torn} bytes are left out"]


def encode(event: Event) -> bytes:
    r"""Encode one event as a checked line.

    >>> encode({"event": "start"})
    b'{"event":"start","crc32":"3dcbb82c"}\n'
    """
    body = json.dumps(event, separators=(",", ":"), allow_nan=False)[:-1].encode()
    return body + (CHECK % zlib.crc32(body)).encode()


def decode(line: bytes) -> Event | None:
    """Return the event of a line, or None if the line is torn or its check fails."""
    body, check = line[:-CHECK_LENGTH], line[-CHECK_LENGTH:]
    if check != (CHECK % zlib.crc32(body)).encode():
        return None
    try:
        event: Event = json.loads(body + b"}")
    except (ValueError, RecursionError):
        return None
    return event


def split_lines(data: bytes) -> list[bytes]:
    """Split bytes into lines, each with its line feed."""
    return io.BytesIO(data).readlines()


def read_lines(data: bytes, path: Path) -> Reading:
    """Decode the bytes of a journal.

    Args:
        data: All bytes of the file.
        path: The file, for error messages.

    Raises:
        JournalError: A line before the last whole one is damaged, a line is no event, or a line
            was written by a newer version.
    """
    lines = split_lines(data)
    _expect_known(lines, path)
    decoded = [decode(line) for line in lines]
    whole = [number for number, event in enumerate(decoded, 1) if event is not None]
    end = whole[-1] if whole else 0
    if not whole and not _may_be_torn(data):
        raise JournalError(_damage(1, path))
    events = list[Event]()
    for number, event in enumerate(decoded[:end], 1):
        if event is None:
            raise JournalError(_damage(number, path))
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise JournalError(f"a line of a journal is an event; {path}, line {number} is none")
        events.append(event)
    return Reading(events, sum(map(len, lines[end:])))


def lines_before_damage(data: bytes, path: Path) -> bytes:
    """Return the lines of a journal before the first damaged one.

    Args:
        data: All bytes of the file.
        path: The file, for error messages.

    Raises:
        JournalError: The first line is damaged, or a line was written by a newer version.
    """
    lines = split_lines(data)
    _expect_known(lines, path)
    kept = b"".join(line for line in takewhile(decode, lines))
    if not kept:
        raise JournalError(
            f"a journal is copied up to its first damaged line; {path}, line 1 is damaged: restore "
            "the file, or start a new run"
        )
    return kept


def _expect_known(lines: Sequence[bytes], path: Path) -> None:
    """Check that no line is of a newer version, whether its check is ours or not.

    Raises:
        JournalError: One is; a newer version may say more, so nothing of it is changed.
    """
    for number, line in enumerate(lines, 1):
        if b'"format":' not in line:
            continue
        try:
            version = json.loads(line).get("format", 1)
        except (ValueError, RecursionError, AttributeError):
            continue
        if isinstance(version, int) and version > FORMAT:
            raise JournalError(
                f"a journal must be of format {FORMAT} or older; {path}, line {number} is of "
                f"format {version}: update veduta; nothing was changed"
            )


def _damage(number: int, path: Path) -> str:
    """Return the message about a damaged line."""
    command = f"veduta rebuild {quote(str(path.parent))} --repair COPY"
    return (
        f"every line of a journal but the last must be whole; {path}, line {number} is not: "
        f"restore the file, or let `{command}` copy the run up to that line"
    )


def _may_be_torn(data: bytes) -> bool:
    """Return whether these may be the first bytes of a first line that was being written."""
    return b"\n" not in data and BEGINS.startswith(data[: len(BEGINS)])


SYNC_EVERY = 1.0  # seconds: what a power cut may cost; a killed process loses nothing


def read_journal(path: Path) -> list[Event]:
    """All events of a journal; a torn end is left out.

    Raises:
        JournalError: it is damaged elsewhere, or of a newer version.
    """
    return read_lines(path.read_bytes(), path).events


def latest_attempts(events: Sequence[Event]) -> list[Event]:
    """Events without those of trials that were begun anew: of each trial, its last attempt.

    >>> first, again = {"event": "trial started", "trial": "t"}, {"event": "trial started"}
    >>> epoch = {"event": "epoch", "trial": "t"}
    >>> len(latest_attempts([first, epoch, first, epoch]))
    2
    """
    begun = {e["trial"]: place for place, e in enumerate(events) if e["event"] == "trial started"}
    return [e for place, e in enumerate(events) if place >= begun.get(e.get("trial", ""), 0)]


@contextmanager
def locked(path: Path, *, writable: bool = False) -> Iterator[bytes]:
    """The bytes of a journal, which nobody writes as long as they are looked at.

    Args:
        path: where it is.
        writable: whether it must be a file that may be written.

    Raises:
        InputError: another process is writing it.
        OSError: it cannot be opened.
    """
    with path.open("r+b" if writable else "rb") as file:
        _lock(file, path)
        yield path.read_bytes()


class Journal:
    """The journal of one run, open for appending and locked. A context manager.

    Args:
        path: a file that is not there yet; `Journal.reopened` goes on with one that is.

    Attributes:
        events: all there are, those of earlier attempts first.
        torn: bytes of a torn end that were cut off when it was reopened.
    """

    def __init__(self, path: Path) -> None:
        self._start(path, path.open("xb", buffering=0))
        sync(path.parent)

    @classmethod
    def reopened(cls, path: Path) -> Self:
        """Go on with a journal; a torn end is cut off.

        Raises:
            InputError: another process is writing it.
            JournalError: it is damaged elsewhere, or of a newer version; it stays as it is.
        """
        journal = cls.__new__(cls)
        journal._start(path, path.open("r+b", buffering=0))
        try:
            reading = read_lines(path.read_bytes(), path)
            journal.events, journal.torn = reading.events, reading.torn
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
            _lock(file, path)
        except InputError:
            file.close()
            raise

    def append(self, event: str, **fields: object) -> None:
        """Add one event. Epochs are made durable once a second, everything else at once.

        Raises:
            VedutaError: the disk is full, or somebody removed the file.
            OSError: it cannot be written.
        """
        entry = {"event": event, **fields}
        line = encode(entry)
        written = self._file.write(line)
        if written != len(line):
            self._file.seek(self._file.truncate(self._file.tell() - written))
            raise VedutaError(f"{self.path}: an event was not written whole; is the disk full?")
        self.events.append(entry)
        if event != "epoch" or time.monotonic() - self._synced > SYNC_EVERY:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()
            if not self.path.exists():  # what is written into a removed file is lost
                raise VedutaError(
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


def _lock(file: BinaryIO, path: Path) -> None:
    """Take the kernel's lock on an open journal.

    Raises:
        InputError: another process holds it; it says its number when it begins.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(_is_live(path)) from error
    except OSError as error:
        raise InputError(
            "a run directory must be where files can be locked, so that one process at a time "
            f"writes it; {path}: {error.strerror or error}: choose another place"
        ) from error


def _is_live(path: Path) -> str:
    """The fault of a run that another process is writing."""
    try:
        pids = [event["pid"] for event in read_journal(path) if "pid" in event]
    except JournalError:  # that it is written counts, whatever it holds
        pids = []
    who = f"process {pids[-1]}" if pids else "another process"
    return (
        f"a run is written by one process at a time; {path.parent} is being written by {who}: "
        "wait until it is done, or end it"
    )
