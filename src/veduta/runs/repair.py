"""A damaged journal, mended as far as that can be proved; what it is made of stays as it is.

An end that an editor or a transfer changed is changed back, one flipped bit is found by the
checksum of its line, a record that stands twice is read once. Where a line cannot be had back, the
journal ends before it: so it was once, and the run goes on from there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from veduta.runs.flips import flipped_back
from veduta.runs.lines import (
    JournalError,
    decode,
    expect_known,
    lines_of,
    read_lines,
    transported,
)


@final
@dataclass(frozen=True, slots=True)
class Mended:
    """A journal that can be read.

    Attributes:
        data: its bytes.
        told: what was done to each line that was damaged, in words.
    """

    data: bytes
    told: tuple[str, ...]


def mended(data: bytes, path: Path) -> Mended:
    """Mend the bytes of a journal.

    Args:
        data: all of them.
        path: where they stand, for the words of an error.

    Raises:
        JournalError: it is of a newer version, or not even its first line can be had back.
    """
    lines = lines_of(data)
    expect_known(lines, path)
    kept, told = list[bytes](), list[str]()
    known: set[bytes] = set()
    for number, line in enumerate(lines, 1):
        found, what = _mended(line)
        if found is None:
            many = f"lines {number} to {len(lines)}" if number < len(lines) else f"line {number}"
            told.append(f"{many}: left out, as line {number} is damaged")
            break
        twice = found in known and (found == kept[-1] or b'"time":' in found)
        if twice:
            what = "left out, as it stands there before"
        else:
            kept.append(found)
            known.add(found)
        if what:
            told.append(f"line {number}: {what}")
    if not kept:
        raise JournalError(
            f"a journal can be mended behind its first line; that of {path} is damaged: restore "
            "the file, or start a new run"
        )
    whole = b"".join(kept)
    read_lines(whole, path)
    return Mended(whole, tuple(told))


def _mended(line: bytes) -> tuple[bytes | None, str]:
    """A line as it was written, and what was done to it; None where that is not known."""
    if decode(line) is not None:
        return line, ""
    if before := transported(line):
        return before, "its ends are as they were written"
    if before := flipped_back(line):
        return before, "one flipped bit was found by its checksum"
    return None, ""
