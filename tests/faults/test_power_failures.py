"""Power cuts: whatever a disk may hold after one, what a search had acknowledged is there.

Epochs are waited for once a second, on purpose: a power cut may take the last second of them, and
they are trained again. Everything else is waited for at once.
"""

import random
from pathlib import Path, PurePosixPath

import pytest

from tests.faults.disk_states import Disk, calls
from tests.faults.fault_injection import inject_faults

WRITTEN = [
    'openat(AT_FDCWD, "/d/f", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3',
    'write(3, "old", 3) = 3',
    "fsync(3)    = 0",
    "close(3)    = 0",
    'openat(AT_FDCWD, "/d", O_RDONLY) = 3',
    "fsync(3)    = 0",
    "close(3)    = 0",
    'openat(AT_FDCWD, "/d/new", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3',
    'write(3, "new", 3) = 3',
    "fsync(3)    = 0",
    "close(3)    = 0",
    'rename("/d/new", "/d/f") = 0',
    'openat(AT_FDCWD, "/d", O_RDONLY) = 3',
    "fsync(3)    = 0",
]


def hexadecimal(line: str) -> bytes:
    """A call as strace records it."""
    before, *texts = line.split('"')
    texts[::2] = ['"' + "".join(f"\\x{ord(one):02x}" for one in text) + '"' for text in texts[::2]]
    return (before + "".join(texts)).encode()


def left_of_f(lines: list[str]) -> set[bytes | None]:
    """What may be in `/d/f` after a power cut at the end of some calls; None: it is not there."""
    disk, drawn = Disk(PurePosixPath("/d")), random.Random(1)  # noqa: S311
    for call in calls(b"\n".join(map(hexadecimal, lines))):
        disk.take(call)
    return {state.get("f") for state in disk.states(drawn)}


def test_a4_the_disk_of_these_tests_forgets_what_was_not_waited_for() -> None:
    """A new content is there for certain after both waits; half of it is where one is left out."""
    assert left_of_f(WRITTEN[:6]) == {b"old"}
    assert left_of_f(WRITTEN[:5]) == {b"old", None}
    assert left_of_f(WRITTEN) == {b"new"}
    assert left_of_f(WRITTEN[:-1]) == {b"old", b"new"}
    careless = [line for place, line in enumerate(WRITTEN[:-1]) if place != 9]
    assert left_of_f(careless) >= {b"old", b"new", b""}


@pytest.mark.skipif(
    bool(explain_missing_strace()), reason=f"needs strace: {explain_missing_strace()}"
)
def test_a4_no_power_cut_takes_what_was_acknowledged(tmp_path: Path) -> None:
    found = inject_faults("power failures", tmp_path)
    assert found["faults"] == []
    assert found["states"] > 200
