"""What can happen to a journal: cut where a crash of ours tore it, refused everywhere else."""

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veduta.runs.journal import (
    FORMAT,
    Event,
    Journal,
    JournalError,
    encode,
    lines_before_damage,
    locked,
    read_journal,
    read_lines,
)

RUN = Path("some run")
EVENTS: list[Event] = [
    {"event": "start", "format": FORMAT, "pid": 1, "settings": {"lr": 1e-3}},
    {"event": "lists", "files": {"splits.csv": "path,label\nred/0\udce9.png,red\n"}},
    {"event": "plan", "trials": ["t1"], "groups": [["t1"]]},
    {"event": "trial started", "trial": "t1", "parameters": {"lr": 1e-3, "patience": None}},
    *({"event": "epoch", "trial": "t1", "epoch": n, "time": 100.5 + n} for n in (1, 2, 3)),
    {"event": "trial finished", "trial": "t1", "status": "finished", "time": 104.0},
]
LINES = [encode(event) for event in EVENTS]
WHOLE = b"".join(LINES)


def read(data: bytes) -> list[Event]:
    return read_lines(data, RUN / "journal.jsonl").events


TAILS = {
    "torn": LINES[-1][:-1],
    "torn in the middle": LINES[-1][:20],
    "garbage": bytes(range(256)),
    "garbage with line ends": b"\x00{]\n\xff\r\n\n}" * 50,
    "zeros": bytes(4096),
    "a zeroed line": bytes(50) + b"\n",
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_a5_a_torn_tail_is_cut_with_one_warning(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(WHOLE + tail)
    with locked(path) as data:
        (warning,) = read_lines(data, path).warnings()
    assert f"last {len(tail)} bytes" in warning
    assert path.read_bytes() == WHOLE + tail, "looking changes nothing"
    with Journal.reopened(path) as journal:
        assert (journal.events, journal.torn) == (EVENTS, len(tail))
        assert path.read_bytes() == WHOLE
    with Journal.reopened(path) as journal:
        assert journal.torn == 0, "it is told once"


def flip(data: bytes, place: int, bit: int = 0) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def line(number: int, change: Callable[[bytes], bytes]) -> bytes:
    """The journal with one line changed."""
    return b"".join(change(one) if n == number else one for n, one in enumerate(LINES, 1))


DAMAGES = {
    "a bit": (5, line(5, lambda one: flip(one, 30))),
    "zeros": (4, line(4, lambda one: bytes(len(one) - 1) + b"\n")),
    "the first": (1, line(1, lambda one: one[2:])),
    "a lost line end": (3, line(3, lambda one: one[:-1])),
    "CR LF": (1, WHOLE.replace(b"\n", b"\r\n")),
    "CR LF of one": (6, line(6, lambda one: one[:-1] + b"\r\n")),
    "BOM": (1, b"\xef\xbb\xbf" + WHOLE),
    "UTF-16": (1, WHOLE.decode().encode("utf-16")),
    "nothing but zeros": (1, bytes(300)),
}


@pytest.mark.parametrize(("number", "data"), DAMAGES.values(), ids=DAMAGES)
def test_a5_damage_in_the_middle_is_refused_with_its_line(
    tmp_path: Path, number: int, data: bytes
) -> None:
    path = tmp_path / "my run" / "journal.jsonl"
    path.parent.mkdir()
    path.write_bytes(data)
    for look in (read_journal, Journal.reopened):
        with pytest.raises(JournalError, match=rf"line {number}\b") as caught:
            look(path)
        assert caught.value.exit_code == 2
    assert f"`veduta rebuild '{path.parent}' --repair COPY`" in str(caught.value)
    assert path.read_bytes() == data


NEWER = {
    "start": [encode({**EVENTS[0], "format": FORMAT + 1}), *LINES[1:]],
    "resumed": [*LINES, encode({"event": "resumed", "format": FORMAT + 1})],
    "of another check": [*LINES, b'{"event":"resumed","format":2,"sha256":"00"}\n'],
    "damaged besides": [LINES[0], b"?\n", encode({"event": "resumed", "format": 99})],
}


@pytest.mark.parametrize("lines", NEWER.values(), ids=NEWER)
def test_a5_a_newer_version_is_refused_and_never_rewritten(
    tmp_path: Path, lines: list[bytes]
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join([*lines, b'{"torn']))
    for look in (read_journal, Journal.reopened):
        with pytest.raises(JournalError, match=r"is of format \d+: update veduta"):
            look(path)
    with pytest.raises(JournalError, match="update veduta"):
        lines_before_damage(path.read_bytes(), path)
    assert path.read_bytes() == b"".join([*lines, b'{"torn'])


def test_a5_what_is_checked_and_no_event_is_refused() -> None:
    for event in ({"epoch": 1}, {"event": 3}):
        with pytest.raises(JournalError, match="line 2 is none"):
            read(LINES[0] + encode(event))
    deep = b'{"event":' + b"[" * 100_000
    checked = deep + b',"crc32":"%08x"}\n' % zlib.crc32(deep)
    assert read(LINES[0] + checked) == EVENTS[:1]


@pytest.mark.parametrize(("number", "data"), DAMAGES.values(), ids=DAMAGES)
def test_a5_a_copy_ends_before_the_damaged_line(number: int, data: bytes) -> None:
    if number == 1:
        with pytest.raises(JournalError, match="line 1 is damaged"):
            lines_before_damage(data, RUN)
    else:
        assert lines_before_damage(data, RUN) == b"".join(LINES[: number - 1])


@given(place=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
@settings(max_examples=150)
def test_a5_a_flipped_bit_is_never_taken_for_an_event(place: int, bit: int) -> None:
    damaged = flip(WHOLE, place, bit)
    number = WHOLE[:place].count(b"\n") + 1
    if number < len(LINES):
        with pytest.raises(JournalError, match=rf"line {number} is not"):
            read(damaged)
    else:
        assert read(damaged) == EVENTS[:-1]
    if number > 1:
        assert lines_before_damage(damaged, RUN) == b"".join(LINES[: number - 1])


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([*LINES, b"\r\n", b"\n", b"\xef\xbb\xbf", b'"format":9', bytes(64)]),
)
MUTATIONS = st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 200), PIECES)


@given(st.lists(MUTATIONS, max_size=4))
@settings(max_examples=300)
def test_a5_fuzzed_bytes_give_events_of_ours_or_an_error_of_ours(
    mutations: list[tuple[int, int, bytes]],
) -> None:
    data = WHOLE
    for place, cut, piece in mutations:
        data = data[:place] + piece + data[place + cut :]
    for look in (read, lambda bytes_: read(lines_before_damage(bytes_, RUN))):
        try:
            found = look(data)
        except JournalError:
            continue
        assert all(event in EVENTS for event in found)
