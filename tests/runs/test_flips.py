"""One flipped bit: where a search by trying every bit finds it, the syndrome does."""

import json
import random
import zlib

import pytest

from veduta.runs.flips import bit_of, flipped_back
from veduta.runs.lines import decode, encode, lines_of

LINE = encode({"event": "lists", "files": {"splits.csv": "path,label\na,é\n"}, "number": 0.1})
NEXT = encode({"event": "end"})


def flip(line: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(line)
    changed[place] ^= 1 << bit
    return bytes(changed)


def tried(line: bytes) -> set[bytes]:
    """Every way to make the line whole with one bit, by trying all of them."""
    ways = (flip(line, place, bit) for place in range(len(line)) for bit in range(8))
    return {way for way in ways if all(decode(one) is not None for one in lines_of(way))}


@pytest.mark.parametrize("place", [*range(len(LINE))])
def test_every_bit_of_a_line_is_found(place: int) -> None:
    for bit in range(8):
        broken = flip(LINE, place, bit)
        if place == len(LINE) - 1:
            broken += NEXT  # its end is no end: the next line stands behind it
        whole = LINE + NEXT if place == len(LINE) - 1 else LINE
        if b"\n" in broken[:-1]:
            continue  # cut in two: no line of it has its check
        assert flipped_back(broken) == whole
        if bit == place % 8:
            assert tried(broken) == {whole}


def test_what_is_not_one_bit_is_left() -> None:
    drawn = random.Random(0)  # noqa: S311 - not for secrets
    for _ in range(300):
        first, second = drawn.sample(range(len(LINE) - 1), 2)
        broken = flip(flip(LINE, first, drawn.randrange(8)), second, drawn.randrange(8))
        assert flipped_back(broken) is None
    for other in (b"", b"\n", b"torn", LINE[:-3], b"?" * 20 + LINE[20:], LINE[1:]):
        assert flipped_back(other) is None


def test_the_syndrome_is_that_of_the_bit_alone() -> None:
    for length in (1, 2, 5, 300):
        for place in {0, length // 2, length - 1}:
            for bit in range(8):
                zeros = bytes(length)
                syndrome = zlib.crc32(zeros) ^ zlib.crc32(flip(zeros, place, bit))
                assert bit_of(syndrome, length) == (place, 1 << bit)
    assert bit_of(0, 300) is None


def test_a_bit_of_a_long_line_is_found() -> None:
    """By trying every bit it would be hours."""
    rows = "".join(f"class {n % 7}/{n:07}.jpg,{n % 7},train\n" for n in range(40_000))
    line = encode({"event": "lists", "files": {"splits.csv": rows}})
    assert len(line) > 1_000_000
    for place in (40, len(line) // 2, len(line) - 25):
        assert flipped_back(flip(line, place, 2)) == line


def test_what_no_journal_writes_is_not_taken_for_a_line() -> None:
    body = json.dumps({"event": "end", "number": 1}).encode()[:-1]  # with spaces
    spaced = body + f',"crc32":"{zlib.crc32(body):08x}"}}\n'.encode()
    assert decode(spaced) is not None
    assert flipped_back(flip(spaced, 12, 1)) is None
