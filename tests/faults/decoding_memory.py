"""Measure the memory that decoding takes, for each file below a folder.

`python -m tests.faults.decoding_memory FOLDER` prints the problem and the additional memory in
bytes by file name, as JSON. Only Linux can reset the peak of the memory; elsewhere a larger file
hides smaller ones.
"""

import ctypes
import json
import resource
import sys
from pathlib import Path

from veduta.data.decode import decode, read_file
from veduta.errors import DecodeError

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def read_peak_memory() -> int:
    """Return the peak of the memory of this process since the last reset, in bytes."""
    if CLEAR_REFS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if "VmHWM" in line)
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak_memory() -> None:
    """Return unused memory to the system and reset the peak."""
    if CLEAR_REFS.exists():
        ctypes.CDLL(None).malloc_trim(0)
        CLEAR_REFS.write_text("5")


def measure(path: Path) -> tuple[str, int]:
    """Return the problem of a file, and the memory that decoding took."""
    reset_peak_memory()
    before, problem = read_peak_memory(), ""
    try:
        decode(read_file(path))
    except DecodeError as error:
        problem = error.problem
    return problem, read_peak_memory() - before


if __name__ == "__main__":
    top = Path(sys.argv[1])
    files = sorted(path for path in top.rglob("*") if not path.is_dir())
    print(json.dumps({path.relative_to(top).as_posix(): measure(path) for path in files}))
