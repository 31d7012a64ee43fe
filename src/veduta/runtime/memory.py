"""How much memory there is: what the machine has free, what a container allows, what we have taken.

A container's limit is not in the machine's figures, and going over it kills the process; so the
smallest of all limits above this process counts. Linux says all this in files; elsewhere the free
memory is guessed to be half of what is built in.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veduta.errors import VedutaError

CGROUPS = Path("sys/fs/cgroup")
V2 = ("memory.max", "memory.current", "inactive_file")  # limit, usage, reclaimable part of it
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")

RAN_OUT = ("allocate memory", "not enough memory", "out of memory", "bad allocation", "bad_alloc")
"""What the messages of torch's and OpenVINO's allocators have in common."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no more memory.

    >>> ran_out(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"))
    True
    """
    if isinstance(error, RuntimeError):
        return any(words in str(error).lower() for words in RAN_OUT)
    return isinstance(error, MemoryError)


@contextmanager
def expect_memory() -> Iterator[None]:
    """Turn the many errors of a memory that ran out into one line that says what is needed.

    Raises:
        VedutaError: something inside ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        reason = " ".join(str(error).split()) or "no reason was given"
        raise VedutaError(
            f"the work needs more memory than there is ({reason}): end other programs, or ask for "
            "less, with a smaller --image-size, --batch-size or --memory"
        ) from error


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that this process can still take without harm to anything else.

    The least of what Linux calls available and, for each control group that the process is in,
    its limit less its use; files that it merely keeps at hand are no use.

    Args:
        root: of the file system that /proc and /sys are in.
    """
    available = _value(root / "proc/meminfo", "MemAvailable:")
    free = [_half_of_all() if available is None else available * 1024]
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            free += _left(root / CGROUPS, path, V2)
        elif "memory" in controllers.split(","):
            free += _left(root / CGROUPS / "memory", path, V1)
    return max(0, min(free))


def anonymous_memory(root: Path = Path("/")) -> int:
    """Bytes that this process has allocated; mapped files do not count. 0 where nobody says."""
    return 1024 * (_value(root / "proc/self/status", "RssAnon:") or 0)


def _left(top: Path, path: str, names: tuple[str, str, str]) -> list[int]:
    """What each group from `top` down to `path` leaves, where it has a limit.

    Inside a container the path may be the host's and lead nowhere; the limit is at the top then.
    """
    limit, usage, cached = names
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    left = []
    for depth in range(len(parts) + 1):
        folder = top.joinpath(*parts[:depth])
        most, used = (_text(folder / name).strip() for name in (limit, usage))
        if most.isdigit() and used.isdigit():
            left.append(int(most) - int(used) + (_value(folder / "memory.stat", cached) or 0))
    return left


def _value(path: Path, name: str) -> int | None:
    """The number that stands after `name` in a file of lines such as `name 123 kB`."""
    for line in _text(path).splitlines():
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    return None


def _text(path: Path) -> str:
    """A file's text; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _half_of_all() -> int:
    """Half of the memory that is built in, where the system tells; else 2 GB."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 2 * 10**9
