"""Damaged journals: a torn tail is cut off, damage anywhere else is refused with its line."""

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.journals import (
    encode_content,
    make_epoch,
    make_plan,
    make_run_started,
    make_trial_finished,
    make_trial_started,
)
from veduta.runs.events import Event, ImageListsWritten, RunResumed
from veduta.runs.journal import (
    Journal,
    JournalError,
    encode_event,
    lines_before_damage,
    lock_journal,
    read_journal,
    read_lines,
)
from veduta.runs.provenance import FORMAT

RUN = Path("some run")
EVENTS: list[Event] = [
    make_run_started(),
    ImageListsWritten(files={"splits.csv": "path,label\nred/0\udce9.png,red\n"}),
    make_plan("t1"),
    make_trial_started(lr=1e-3, patience=None),
    *(make_epoch(epoch=number) for number in (1, 2, 3)),
    make_trial_finished(),
]
LINES = [encode_event(event) for event in EVENTS]
JOURNAL = b"".join(LINES)


def read(data: bytes) -> list[Event]:
    """Return the events in the bytes of a journal."""
    return read_lines(data, RUN / "journal.jsonl").events


TAILS = {
    "torn": LINES[-1][:-1],
    "torn in the middle": LINES[-1][:20],
    "garbage": bytes(range(256)),
    "garbage with line feeds": b"\x00{]\n\xff\r\n\n}" * 50,
    "zeros": bytes(4096),
    "a line of zeros": bytes(50) + b"\n",
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_a_torn_tail_is_cut_off_with_one_warning(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(JOURNAL + tail)
    with lock_journal(path) as data:
        (warning,) = read_lines(data, path).list_warnings()
    assert f"{len(tail)} bytes" in warning
    assert path.read_bytes() == JOURNAL + tail, "reading changes nothing"
    with Journal.reopen(path) as journal:
        assert (journal.events, journal.torn_bytes) == (EVENTS, len(tail))
        assert path.read_bytes() == JOURNAL
    with Journal.reopen(path) as journal:
        assert journal.torn_bytes == 0, "the warning is given once"


def flip_bit(data: bytes, position: int, bit: int = 0) -> bytes:
    """Return bytes in which one bit is flipped."""
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def change_line(number: int, change: Callable[[bytes], bytes]) -> bytes:
    """Return the journal with one changed line."""
    return b"".join(change(line) if n == number else line for n, line in enumerate(LINES, 1))


DAMAGES = {
    "a bit": (5, change_line(5, lambda line: flip_bit(line, 30))),
    "zeros": (4, change_line(4, lambda line: bytes(len(line) - 1) + b"\n")),
    "the first line": (1, change_line(1, lambda line: line[2:])),
    "a lost line feed": (3, change_line(3, lambda line: line[:-1])),
    "CR LF": (1, JOURNAL.replace(b"\n", b"\r\n")),
    "CR LF in one line": (6, change_line(6, lambda line: line[:-1] + b"\r\n")),
    "BOM": (1, b"\xef\xbb\xbf" + JOURNAL),
    "UTF-16": (1, JOURNAL.decode().encode("utf-16")),
    "nothing but zeros": (1, bytes(300)),
}


@pytest.mark.parametrize(("number", "data"), DAMAGES.values(), ids=DAMAGES)
def test_damage_before_the_last_line_is_refused_with_its_line(
    tmp_path: Path, number: int, data: bytes
) -> None:
    path = tmp_path / "my run" / "journal.jsonl"
    path.parent.mkdir()
    path.write_bytes(data)
    for read_file in (read_journal, Journal.reopen):
        with pytest.raises(JournalError, match=rf"line {number}\b") as caught:
            read_file(path)
        assert caught.value.exit_code == 2
    assert f"`veduta rebuild '{path.parent}' --repair COPY`" in str(caught.value)
    assert path.read_bytes() == data


RESUMED = RunResumed(format=FORMAT + 1, pid=2, versions={}, backbones={})
NEWER = {
    "start": [encode_event(make_run_started(format=FORMAT + 1)), *LINES[1:]],
    "resumed": [*LINES, encode_event(RESUMED)],
    "unknown fields": [*LINES, encode_content({"event": "run_resumed", "format": 2, "host": "a"})],
    "another checksum": [*LINES, b'{"event":"run_resumed","format":2,"sha256":"00"}\n'],
    "damaged, too": [LINES[0], b"?\n", encode_event(RESUMED.model_copy(update={"format": 99}))],
}


@pytest.mark.parametrize("lines", NEWER.values(), ids=NEWER)
def test_a_newer_version_is_refused_and_never_changed(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join([*lines, b'{"torn']))
    for read_file in (read_journal, Journal.reopen):
        with pytest.raises(JournalError, match=r"format (2|99): update veduta"):
            read_file(path)
    with pytest.raises(JournalError, match="update veduta"):
        lines_before_damage(path.read_bytes(), path)
    assert path.read_bytes() == b"".join([*lines, b'{"torn'])


UNKNOWN = {
    "no kind": {"epoch": 1},
    "a number for the kind": {"event": 3},
    "an unknown kind": {"event": "rebooted"},
    "an unknown field": {"event": "trial_paused", "trial": "t1", "surprise": 1},
    "a missing field": {"event": "trial_paused"},
}


@pytest.mark.parametrize("content", UNKNOWN.values(), ids=UNKNOWN)
def test_a_line_with_a_valid_checksum_that_is_no_event_is_refused(
    content: dict[str, object],
) -> None:
    line = encode_content(content)
    for tail in (b"", LINES[1]):
        with pytest.raises(JournalError, match="line 2") as caught:
            read(LINES[0] + line + tail)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert lines_before_damage(LINES[0] + line, RUN) == LINES[0]


def test_a_line_that_is_nested_too_deeply_is_no_event() -> None:
    deep = b'{"event":' + b"[" * 100_000
    line = deep + b',"crc32":"%08x"}\n' % zlib.crc32(deep)
    assert read(LINES[0] + line) == EVENTS[:1]


@pytest.mark.parametrize(("number", "data"), DAMAGES.values(), ids=DAMAGES)
def test_a_repaired_copy_ends_before_the_damaged_line(number: int, data: bytes) -> None:
    if number == 1:
        with pytest.raises(JournalError, match="line 1"):
            lines_before_damage(data, RUN)
    else:
        assert lines_before_damage(data, RUN) == b"".join(LINES[: number - 1])


@given(position=st.integers(0, len(JOURNAL) - 1), bit=st.integers(0, 7))
@settings(max_examples=150)
def test_a_flipped_bit_never_gives_an_event(position: int, bit: int) -> None:
    damaged = flip_bit(JOURNAL, position, bit)
    number = JOURNAL[:position].count(b"\n") + 1
    if number < len(LINES):
        with pytest.raises(JournalError, match=rf"line {number}\b"):
            read(damaged)
    else:
        assert read(damaged) == EVENTS[:-1]
    if number > 1:
        assert lines_before_damage(damaged, RUN) == b"".join(LINES[: number - 1])


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([*LINES, b"\r\n", b"\n", b"\xef\xbb\xbf", b'"format":9', bytes(64)]),
)
MUTATIONS = st.tuples(st.integers(0, len(JOURNAL)), st.integers(0, 200), PIECES)


@given(st.lists(MUTATIONS, max_size=4))
@settings(max_examples=300)
def test_fuzzed_bytes_give_recorded_events_or_a_journal_error(
    mutations: list[tuple[int, int, bytes]],
) -> None:
    data = JOURNAL
    for position, cut, piece in mutations:
        data = data[:position] + piece + data[position + cut :]
    for read_bytes in (read, lambda damaged: read(lines_before_damage(damaged, RUN))):
        try:
            events = read_bytes(data)
        except JournalError:
            continue
        assert all(event in EVENTS for event in events)
