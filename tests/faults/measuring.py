"""How long each file below a folder takes to decode, and how much memory, told as JSON.

Run as `python -m tests.faults.measuring FOLDER`: by name, what is wrong with it, its time, bytes
over what the process had before. Time is told in yardsticks, each what Pillow alone takes for an
ordinary JPEG of the most pixels, right after the file: a slow machine is slow with both. Linux can
set the mark of the most memory back; elsewhere a larger file hides smaller ones.
"""

import ctypes
import json
import resource
import sys
import time
from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.faults.images import gradient, saved
from veduta.data.decode import decode, read_file
from veduta.errors import DecodeError

SHORT = 0.1  # seconds, below which a file needs no comparison
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


def yardstick(photograph: bytes) -> float:
    """Seconds that Pillow takes for an ordinary file, in memory as fresh as the other file had."""
    forget()
    began = time.process_time()
    with Image.open(BytesIO(photograph)) as image:
        image.load()
    return time.process_time() - began


def measure(path: Path, photograph: bytes) -> tuple[str, float, int]:
    """What is wrong with a file, how many yardsticks it took to know, and the memory."""
    forget()
    before, began, problem = most(), time.process_time(), ""
    try:
        decode(read_file(path))
    except DecodeError as error:
        problem = error.problem
    seconds, memory = time.process_time() - began, most() - before
    return problem, seconds / yardstick(photograph) if seconds > SHORT else 0, memory


if __name__ == "__main__":
    top, ordinary = Path(sys.argv[1]), saved(gradient(8000), "JPEG")
    files = sorted(path for path in top.rglob("*") if not path.is_dir())
    told = {path.relative_to(top).as_posix(): measure(path, ordinary) for path in files}
    print(json.dumps(told))
