"""How much memory each file below a folder takes to decode, told as JSON.

Run as `python -m tests.faults.decoding_memory FOLDER`: by name, what is wrong with it, and bytes over
what the process had before. Linux can set the mark of the most memory back; elsewhere a larger file
hides smaller ones.
"""

import ctypes
import json
import resource
import sys
from pathlib import Path

from veduta.data.decode import decode, read_file
from veduta.errors import DecodeError

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def most() -> int:
    """The most memory that this process has had since the mark was set back, in bytes."""
    if CLEAR.exists():
        line = next(line for line in STATUS.read_text().splitlines() if "VmHWM" in line)
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget() -> None:
    """Give memory back that is not in use, and set the mark back."""
    if CLEAR.exists():
        ctypes.CDLL(None).malloc_trim(0)
        CLEAR.write_text("5")


def measure(path: Path) -> tuple[str, int]:
    """What is wrong with a file, and the memory that it took to know."""
    forget()
    before, problem = most(), ""
    try:
        decode(read_file(path))
    except DecodeError as error:
        problem = error.problem
    return problem, most() - before


if __name__ == "__main__":
    top = Path(sys.argv[1])
    files = sorted(path for path in top.rglob("*") if not path.is_dir())
    print(json.dumps({path.relative_to(top).as_posix(): measure(path) for path in files}))
