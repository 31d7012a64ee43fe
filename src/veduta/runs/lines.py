"""The lines of a journal: how an event is written and checked, and which damage is tolerated.

A line is a JSON object whose last member is the CRC-32 of what stands before it. A process that
dies leaves whole lines and, after the last one, at most bytes that never became a line: this torn
tail is left out. Damage anywhere else is refused with its line number, because silently skipping a
line would rewrite history; `veduta rebuild RUN --repair COPY` copies the lines before it.
"""

import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from shlex import quote
from typing import Any, final

from veduta.errors import InputError

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
