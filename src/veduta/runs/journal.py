"""The truth about a run: one line an event, appended, checked, never rewritten.

Tables and curves in a run directory are derived from these lines, see `experiment.rebuilding`. A
process that dies while it writes leaves at most a torn last line, which is recognized and left
out; any other damage is refused, see `runs.lines`.

Whoever writes a journal holds the kernel's lock on it, which any death releases.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from veduta.errors import InputError, VedutaError
from veduta.runs.lines import Event, JournalError, encode, read_lines
from veduta.runtime.disk import sync

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
