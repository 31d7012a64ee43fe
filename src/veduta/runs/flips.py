"""The one flipped bit of a line, found by its checksum, however long the line is.

CRC-32 is linear: the checksum of a damaged line, xor the one that it brings, is that of the damage
alone (the syndrome). A single bit leaves a state that each byte behind it moves on by one step; so
the steps are taken back from the syndrome until such a state comes. One look at each byte is enough
(W. W. Peterson and D. T. Brown, Cyclic Codes for Error Detection, 1961).
"""

import re
import zlib

from veduta.runs.lines import CHECK, CHECK_LENGTH, decode, encode, lines_of

POLYNOMIAL = 0xEDB88320  # of CRC-32, its lowest power in the highest bit
CHECKED = re.compile(rb',"crc32":"([0-9a-f]{8})"\}\n')
JOINED = re.compile(rb',"crc32":"[0-9a-f]{8}"\}([^\n])')
END = ord("\n")


def flipped_back(line: bytes) -> bytes | None:
    r"""The line, or the two, with the one bit flipped back that was flipped; None where none is.

    Two flipped bits are never taken for one in up to 11 KB. A line of n bytes that is damaged
    otherwise looks by chance as if one were flipped in n of 500 million cases; what is found must
    be as a journal writes it, too.

    >>> flipped_back(b'{"event":"stavt","crc32":"3dcbb82c"}\n')
    b'{"event":"start","crc32":"3dcbb82c"}\n'
    """
    for found in (_in_end(line), _in_check(line), _in_body(line)):
        if found is not None and all(_as_written(one) for one in lines_of(found)):
            return found
    return None


def bit_of(syndrome: int, length: int) -> tuple[int, int] | None:
    """Which bit of `length` bytes leaves this syndrome, as (place, value); None where none does.

    Args:
        syndrome: CRC-32 of the bytes as they are, xor that of the bytes as they were.
        length: how many there are.
    """
    state = syndrome
    for place in range(length - 1, -1, -1):
        if state in BITS:
            return place, BITS[state]
        before = BACK[state >> 24]
        state = ((state ^ STEPS[before]) << 8 | before) & 0xFFFFFFFF
    return None


def _in_body(line: bytes) -> bytes | None:
    """With a bit of what is checked flipped back."""
    check = CHECKED.fullmatch(line[-CHECK_LENGTH:])
    if check is None:
        return None
    body = bytearray(line[:-CHECK_LENGTH])
    bit = bit_of(zlib.crc32(body) ^ int(check[1], 16), len(body))
    if bit is None:
        return None
    body[bit[0]] ^= bit[1]
    return bytes(body) + line[-CHECK_LENGTH:]


def _in_check(line: bytes) -> bytes | None:
    """With a bit of the check itself flipped back."""
    body, check = line[:-CHECK_LENGTH], line[-CHECK_LENGTH:]
    expected = (CHECK % zlib.crc32(body)).encode()
    apart = sum((a ^ b).bit_count() for a, b in zip(check, expected, strict=False))
    return body + expected if len(check) == len(expected) and apart == 1 else None


def _in_end(line: bytes) -> bytes | None:
    """With a bit of the line's end flipped back, for which the next line stands behind it."""
    for joint in JOINED.finditer(line):
        if (joint[1][0] ^ END).bit_count() == 1:
            return line[: joint.start(1)] + b"\n" + line[joint.end(1) :]
    return None


def _as_written(line: bytes) -> bool:
    event = decode(line)
    return isinstance(event, dict) and encode(event) == line


def _step(state: int) -> int:
    """The state behind a byte, for one that is less than 256."""
    for _ in range(8):
        state = state >> 1 ^ (POLYNOMIAL if state & 1 else 0)
    return state


STEPS = [_step(byte) for byte in range(256)]
BACK = {step >> 24: byte for byte, step in enumerate(STEPS)}
BITS = {STEPS[1 << bit]: 1 << bit for bit in range(8)}
