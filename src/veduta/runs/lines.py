"""The lines of a journal, and what can have happened to them.

A line is a JSON object whose last member is the CRC-32 of what stands before it. A crash of ours
leaves whole lines and, behind the last, at most bytes that never became one: they are left out.
Everything else is damage by others, and is refused with its line number, because silently skipping
a line would rewrite history; `runs.repair` mends a copy.
"""

import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, final

from veduta.errors import InputError

Event = dict[str, Any]

FORMAT = 1
"""What the events say and how lines are checked; an event that says nothing is of the first."""

CHECK = ',"crc32":"%08x"}\n'
CHECK_LENGTH = len(CHECK % 0)
MARK = b"\xef\xbb\xbf"
"""What some editors put before the first line, the byte order mark of UTF-8."""

BEGINS = b'{"event":"'


class JournalError(InputError):
    """A journal is damaged where no crash of ours can have damaged it, or of a newer version."""


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """What the bytes of a journal hold.

    Attributes:
        events: of the whole lines, each once.
        torn: bytes behind the last whole line, which never became one.
        repeated: numbers of lines that are the line before them again, from 1.
    """

    events: list[Event]
    torn: int = 0
    repeated: tuple[int, ...] = ()

    def told(self) -> list[str]:
        """What was left out, in words."""
        found = []
        if self.torn:
            found.append(f"the end of the journal is torn; its last {self.torn} bytes are left out")
        if self.repeated:
            lines = ", ".join(map(str, self.repeated))
            found.append(f"the journal has lines that stand twice, read once: {lines}")
        return found


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
    try:
        event: Event = json.loads(body + b"}")
    except (ValueError, RecursionError):
        return None
    return event


def lines_of(data: bytes) -> list[bytes]:
    """The lines, each with its end."""
    return io.BytesIO(data).readlines()


def transported(line: bytes) -> bytes | None:
    """The line as it was before an editor or a transfer as text changed its ends, where so."""
    before = line.removeprefix(MARK)
    before = before[:-2] + b"\n" if before.endswith(b"\r\n") else before
    return before if before != line and decode(before) is not None else None


def read_lines(data: bytes, path: Path) -> Reading:
    """What the bytes of a journal hold.

    Args:
        data: all of them.
        path: where they stand, for the words of an error.

    Raises:
        JournalError: a line is damaged where no crash of ours can have damaged it, a record stands
            twice, or a line is of a newer version.
    """
    lines = lines_of(data)
    events = [decode(line) for line in lines]
    whole = [place for place, event in enumerate(events) if event is not None]
    behind = whole[-1] + 1 if whole else 0
    expect_known(lines, path)
    for place, line in enumerate(lines):
        if events[place] is None and (place < behind or transported(line)):
            raise JournalError(_damaged(place, line, path))
    if not whole and not _begins(data):
        raise JournalError(_damaged(0, data, path))
    found, repeated = list[Event](), list[int]()
    for place, event in enumerate(events[:behind]):
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise JournalError(f"a line of a journal is an event; {path}, line {place + 1} is none")
        if place and lines[place] == lines[place - 1]:
            repeated.append(place + 1)
        else:
            found.append(event)
    _expect_once([line for line in lines[:behind] if b'"time":' in line], lines, path)
    return Reading(found, sum(map(len, lines[behind:])), tuple(repeated))


def expect_known(lines: Sequence[bytes], path: Path) -> None:
    """No line is of a newer version, whether its check is ours or not.

    Raises:
        JournalError: one is; a newer version may say more, so nothing of it is changed.
    """
    for number, line in enumerate(lines, 1):
        if b'"format":' not in line:
            continue
        try:
            said = json.loads(line).get("format", 1)
        except (ValueError, RecursionError, AttributeError):
            continue
        if isinstance(said, int) and said > FORMAT:
            raise JournalError(
                f"a journal must be of format {FORMAT} or older; {path}, line {number} is of "
                f"format {said}: update veduta; nothing was changed"
            )


def way_out(path: Path) -> str:
    """How to get at what a damaged journal still holds."""
    command = f"veduta rebuild {quote(str(path.parent))} --repair COPY"
    return f"restore the file, or let `{command}` mend a copy of the run"


def _damaged(place: int, line: bytes, path: Path) -> str:
    """The fault of a line that is not whole, and what it looks like."""
    rule, said = "every line of a journal but the last must be whole", "is not"
    if transported(line):
        rule = "a journal must be as it was written, not as an editor or a transfer saves it"
        said = "begins with a byte order mark" if line.startswith(MARK) else "ends in CR LF"
    return f"{rule}; {path}, line {place + 1} {said}: {way_out(path)}"


def _begins(data: bytes) -> bool:
    """Whether these may be the first bytes of a first line that was being written."""
    return b"\n" not in data and BEGINS.startswith(data[: len(BEGINS)])


def _expect_once(timed: Sequence[bytes], lines: Sequence[bytes], path: Path) -> None:
    """A record that has its time stands once; again right behind itself it is read once."""
    known: set[bytes] = set()
    before = b""
    for line in timed:
        if line in known and line != before:
            places = [number for number, other in enumerate(lines, 1) if other == line]
            raise JournalError(
                f"a record stands in a journal once; {path}, line {places[-1]} is line "
                f"{places[0]} again: {way_out(path)}"
            )
        known.add(line)
        before = line
