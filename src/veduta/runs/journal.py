"""The journal of a run: one line of JSON with a checksum per event, appended and never rewritten.

A process that is killed, or a power cut, can leave an incomplete last line: it is cut off when the
run is resumed. Damage anywhere else is refused with the number of the line.
"""

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
from typing import BinaryIO, Self, final

from pydantic import ValidationError

from veduta.errors import InputError, VedutaError, describe_os_error
from veduta.runs.events import (
    EpochFinished,
    Event,
    RunResumed,
    RunStarted,
    event_to_json,
    parse_event_json,
)
from veduta.runs.provenance import FORMAT, describe_parse_error
from veduta.runtime.disk import sync
from veduta.runtime.locks import lock_open_file

CHECKSUM = ',"crc32":"%08x"}\n'
CHECKSUM_LENGTH = len(CHECKSUM % 0)
LINE_START = b'{"event":"'

SYNC_INTERVAL = 1.0
"""Seconds between two syncs of epochs: what a power cut may cost; a killed process loses none."""


class JournalError(InputError):
    """A journal is damaged before its last line, or was written by a newer version."""


@final
@dataclass(frozen=True, slots=True)
class JournalContent:
    """The content of a journal.

    Attributes:
        events: The events of all complete lines.
        torn_bytes: Number of bytes after the last complete line.
    """

    events: list[Event]
    torn_bytes: int = 0

    def list_warnings(self) -> list[str]:
        """Return a warning about an incomplete last line, if there is one."""
        if not self.torn_bytes:
            return []
        return [
            f"the end of the journal is incomplete; its last {self.torn_bytes} bytes are ignored"
        ]


def encode_event(event: Event) -> bytes:
    r"""Encode one event as a line with a checksum.

    >>> from veduta.runs.events import TrialPaused
    >>> encode_event(TrialPaused(trial="t1"))
    b'{"event":"trial_paused","trial":"t1","crc32":"c06be5c7"}\n'
    """
    body = event_to_json(event)[:-1].encode()
    return body + (CHECKSUM % zlib.crc32(body)).encode()


def decode_line(line: bytes) -> Event | None:
    """Return the event of a line, or None if the line is incomplete or its checksum differs.

    Raises:
        ValidationError: The line is complete, but it is no event of this version.
    """
    body, checksum = line[:-CHECKSUM_LENGTH], line[-CHECKSUM_LENGTH:]
    if checksum != (CHECKSUM % zlib.crc32(body)).encode():
        return None
    try:
        return parse_event_json(body + b"}")
    except ValidationError:
        raise
    except (ValueError, RecursionError):  # no JSON
        return None


def split_lines(data: bytes) -> list[bytes]:
    """Split bytes into lines, each with its line feed."""
    return io.BytesIO(data).readlines()


def read_lines(data: bytes, path: Path) -> JournalContent:
    """Decode the bytes of a journal.

    Args:
        data: All bytes of the file.
        path: The file, for error messages.

    Raises:
        JournalError: A line before the last complete one is damaged, a line is no event, or a
            line was written by a newer version.
    """
    lines = split_lines(data)
    _check_format(lines, path)
    decoded = [_decode_numbered(line, number, path) for number, line in enumerate(lines, 1)]
    complete = [number for number, event in enumerate(decoded, 1) if event is not None]
    end = complete[-1] if complete else 0
    if not complete and not _may_be_torn(data):
        raise JournalError(_describe_damage(1, path))
    events = list[Event]()
    for number, event in enumerate(decoded[:end], 1):
        if event is None:
            raise JournalError(_describe_damage(number, path))
        events.append(event)
    return JournalContent(events, sum(map(len, lines[end:])))


def _decode_numbered(line: bytes, number: int, path: Path) -> Event | None:
    """Return the event of a line as `decode_line` does.

    Raises:
        JournalError: The line is complete, but it is no event of this version.
    """
    try:
        return decode_line(line)
    except ValidationError as error:
        raise JournalError(
            f"every line of a journal must be an event; {path}, line {number} is none "
            f"({describe_parse_error(error)}): restore the file, or start a new run"
        ) from error


def lines_before_damage(data: bytes, path: Path) -> bytes:
    """Return the lines of a journal before the first damaged one.

    Args:
        data: All bytes of the file.
        path: The file, for error messages.

    Raises:
        JournalError: The first line is damaged, or a line was written by a newer version.
    """
    lines = split_lines(data)
    _check_format(lines, path)
    intact = list(takewhile(_is_event, lines))
    if not intact:
        raise JournalError(
            f"a journal is copied up to its first damaged line; {path}, line 1 is damaged: restore "
            "the file, or start a new run"
        )
    return b"".join(intact)


def _is_event(line: bytes) -> bool:
    """Return whether a line is a complete event of this version."""
    try:
        return decode_line(line) is not None
    except ValidationError:
        return False


def _check_format(lines: Sequence[bytes], path: Path) -> None:
    """Check that no line was written by a newer version, whose checksum may differ, too.

    Raises:
        JournalError: A line was; nothing of such a journal is changed.
    """
    for number, line in enumerate(lines, 1):
        if b'"format":' not in line:
            continue
        try:
            version = json.loads(line).get("format")
        except (ValueError, RecursionError, AttributeError):
            continue
        if isinstance(version, int) and version > FORMAT:
            raise JournalError(
                f"a journal must be of format {FORMAT} or older; {path}, line {number} is of "
                f"format {version}: update veduta; nothing was changed"
            )


def _describe_damage(number: int, path: Path) -> str:
    """Return the message about a damaged line."""
    command = f"veduta rebuild {quote(str(path.parent))} --repair COPY"
    return (
        f"every line of a journal but the last must be complete; {path}, line {number} is not: "
        f"restore the file, or let `{command}` copy the run up to that line"
    )


def _may_be_torn(data: bytes) -> bool:
    """Return whether these may be the first bytes of an incomplete first line."""
    return b"\n" not in data and LINE_START.startswith(data[: len(LINE_START)])


def read_journal(path: Path) -> list[Event]:
    """Return all events of a journal; an incomplete last line is ignored.

    Raises:
        JournalError: The journal is damaged elsewhere, or was written by a newer version.
    """
    return read_lines(path.read_bytes(), path).events


@contextmanager
def lock_journal(path: Path, *, writable: bool = False) -> Iterator[bytes]:
    """Yield the bytes of a journal while no other process can write it.

    Args:
        path: The file.
        writable: Whether the file must be writable.

    Raises:
        InputError: Another process is writing it.
        OSError: It cannot be opened.
    """
    with path.open("r+b" if writable else "rb") as file:
        _lock(file, path)
        yield path.read_bytes()


@final
class Journal:
    """The journal of one run, open for appending and locked. A context manager.

    Args:
        path: A file that does not exist yet; `Journal.reopen` opens an existing one.

    Attributes:
        path: The file.
        events: All events, those of earlier processes first.
        torn_bytes: Length of the incomplete last line that was cut off when it was reopened.
    """

    path: Path
    events: list[Event]
    torn_bytes: int

    def __init__(self, path: Path) -> None:
        self._start(path, path.open("xb", buffering=0))
        sync(path.parent)

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """Open an existing journal for appending; an incomplete last line is cut off.

        Raises:
            InputError: Another process is writing it.
            JournalError: The journal is damaged elsewhere, or was written by a newer version; it
                is not changed.
        """
        journal = cls.__new__(cls)
        journal._start(path, path.open("r+b", buffering=0))
        try:
            content = read_lines(path.read_bytes(), path)
            journal.events, journal.torn_bytes = content.events, content.torn_bytes
            journal._file.truncate(journal._file.seek(-content.torn_bytes, os.SEEK_END))
        except BaseException:
            journal._file.close()
            raise
        return journal

    def _start(self, path: Path, file: BinaryIO) -> None:
        """Lock the open file; the journal has no events yet."""
        self._file = file
        self._synced = time.monotonic()
        self.path = path
        self.torn_bytes = 0
        self.events = []
        try:
            _lock(file, path)
        except InputError:
            file.close()
            raise

    def append(self, event: Event) -> None:
        """Append one event. Epochs are synced once a second, all other events at once.

        Raises:
            VedutaError: The disk is full, or the file was removed.
            OSError: The event cannot be written.
        """
        line = encode_event(event)
        written = self._file.write(line)
        if written != len(line):
            self._file.seek(self._file.truncate(self._file.tell() - written))
            raise VedutaError(
                f"a journal must have room to grow; {self.path}: an event could not be written "
                "completely: make room on the disk, then resume the run"
            )
        self.events.append(event)
        elapsed = time.monotonic() - self._synced
        if not isinstance(event, EpochFinished) or elapsed > SYNC_INTERVAL:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()
            if not self.path.exists():  # what is written into a removed file is lost
                raise VedutaError(
                    f"a run needs its directory until it ends; {self.path} was removed during the "
                    "run, nothing more can be saved: start the run again"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def _lock(file: BinaryIO, path: Path) -> None:
    """Lock an open journal.

    The lock is on the journal itself, whose file may be read-only, and not on a lock file beside
    it.

    Raises:
        InputError: Another process holds the lock, or the file system has no locks.
    """
    try:
        lock_open_file(file)
    except BlockingIOError as error:
        raise InputError(_describe_writer(path)) from error
    except OSError as error:
        raise InputError(
            "a run directory must be on a file system with file locks, so that one process at a "
            f"time writes it; {path}: {describe_os_error(error)}: choose another folder"
        ) from error


def _describe_writer(path: Path) -> str:
    """Return the message that another process is writing the run."""
    try:
        events = read_journal(path)
    except JournalError:  # damaged or not, it is being written
        events = []
    pids = [event.pid for event in events if isinstance(event, (RunStarted, RunResumed))]
    writer = f"process {pids[-1]}" if pids else "another process"
    return (
        f"a run is written by one process at a time; {path.parent} is being written by {writer}: "
        "wait until that process has ended, or end it"
    )
