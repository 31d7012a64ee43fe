"""Free memory of the machine and of its control groups, and errors of memory that ran out.

The limit of a container is not part of the machine's free memory, and a process that exceeds it is
killed; so the smallest limit of all control groups above this process counts. psutil knows the
machine, but not the control groups, which Linux describes in files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veduta.errors import VedutaError

CGROUPS = Path("sys/fs/cgroup")
V2 = ("memory.max", "memory.current", "inactive_file")  # limit, usage, reclaimable part of it
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")

OUT_OF_MEMORY = (
    "allocate memory",
    "not enough memory",
    "out of memory",
    "bad allocation",
    "bad_alloc",
)
"""Parts of the messages of torch's and OpenVINO's memory allocators."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"))
    True
    """
    if isinstance(error, RuntimeError):
        return any(words in str(error).lower() for words in OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


@contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Turn the errors of memory that ran out into one that states the cure.

    Raises:
        VedutaError: the block ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split()) or "no reason given"
        raise VedutaError(
            f"the command needs more memory than is free ({reason}): close other programs, or "
            "choose a smaller --image-size, --batch-size or --memory"
        ) from error


def measure_free_memory(root: Path = Path("/")) -> int:
    """Return the number of bytes that this process can still allocate.

    It is the least of the memory that the machine has available and, for each control group of the
    process, its limit minus its usage, in which reclaimable file pages do not count.

    Args:
        root: root of the file system that contains proc/self/cgroup and sys/fs/cgroup.
    """
    import psutil

    free = [int(psutil.virtual_memory().available)]
    for line in _read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            free += _list_group_memory(root / CGROUPS, path, V2)
        elif "memory" in controllers.split(","):
            free += _list_group_memory(root / CGROUPS / "memory", path, V1)
    return max(0, min(free))


def measure_anonymous_memory() -> int:
    """Return the bytes that this process has allocated, without mapped files; 0 if unknown."""
    import psutil

    info = psutil.Process().memory_info()
    return int(info.rss - info.shared) if hasattr(info, "shared") else 0


def _list_group_memory(top: Path, path: str, names: tuple[str, str, str]) -> list[int]:
    """List the free memory of each control group from `top` down to `path` that has a limit.

    Inside a container, the path may be that of the host, which does not exist; then the limit is
    that of `top`.
    """
    limit_name, usage_name, reclaimable_name = names
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    free = []
    for depth in range(len(parts) + 1):
        folder = top.joinpath(*parts[:depth])
        limit, usage = (_read_text(folder / name).strip() for name in (limit_name, usage_name))
        if limit.isdigit() and usage.isdigit():
            free.append(int(limit) - int(usage) + _read_statistic(folder, reclaimable_name))
    return free


def _read_statistic(folder: Path, name: str) -> int:
    """Read one number of the memory statistics of a control group; 0 if it is missing."""
    for line in _read_text(folder / "memory.stat").splitlines():
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    return 0


def _read_text(path: Path) -> str:
    """Read a text file; return an empty text if it cannot be read."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
