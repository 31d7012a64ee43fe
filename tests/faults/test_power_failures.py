"""Power failures: whatever the disk may contain, acknowledged data survive.

Epochs are synced once a second on purpose: a power failure may lose the last second of them, and
they are trained again. Everything else is synced at once.
"""

import random
from pathlib import Path, PurePosixPath

from tests.faults.disk_states import Disk, parse_calls
from tests.faults.fault_injection import inject_faults, needs_strace

CALLS = [
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


def encode_strings(line: str) -> bytes:
    """Return a line as strace records it, with strings as hexadecimal numbers."""
    before, *texts = line.split('"')
    texts[::2] = ['"' + "".join(f"\\x{ord(one):02x}" for one in text) + '"' for text in texts[::2]]
    return (before + "".join(texts)).encode()


def find_contents(lines: list[str]) -> set[bytes | None]:
    """Return the possible contents of `/d/f` after these calls and a power failure.

    None means that the file does not exist.
    """
    disk, generator = Disk(PurePosixPath("/d")), random.Random(1)  # noqa: S311
    for call in parse_calls(b"\n".join(map(encode_strings, lines))):
        disk.apply(call)
    return {state.get("f") for state in disk.generate_states(generator)}


def test_the_simulated_disk_loses_what_was_not_synced() -> None:
    """New content is safe after file and folder are synced, and can be lost otherwise."""
    assert find_contents(CALLS[:6]) == {b"old"}
    assert find_contents(CALLS[:5]) == {b"old", None}
    assert find_contents(CALLS) == {b"new"}
    assert find_contents(CALLS[:-1]) == {b"old", b"new"}
    without_sync = [line for number, line in enumerate(CALLS[:-1]) if number != 9]
    assert find_contents(without_sync) >= {b"old", b"new", b""}


@needs_strace
def test_no_power_failure_loses_acknowledged_data(tmp_path: Path) -> None:
    result = inject_faults("power failures", tmp_path)
    assert result["faults"] == []
    assert result["states"] > 200
