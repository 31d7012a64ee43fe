"""Searches and saves whose system calls fail, or whose disk is too small."""

import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import saves
from tests.faults.forks import KILLED, Attempt, run_attempt
from tests.faults.small_search import (
    SMALL,
    expect_none,
    find_broken_files,
    find_resume_faults,
    search,
    search_in_child,
    search_small,
)
from tests.faults.system_calls import KILL, WRITING_CALLS, create_nothing, hit_every_call

SIZES = range(4, 72, 6)
"""Sizes of small disks in kB; the last one is large enough."""

ERRORS = (  # "+": all later calls fail, too, as on a full disk
    *(("write", "ENOSPC", "+"), ("write", "EIO", ""), ("write", "EDQUOT", "+")),
    *(("fsync", "ENOSPC", "+"), ("fsync", "EIO", ""), ("rename", "ENOSPC", "+")),
    *(("rename", "EIO", ""), ("mkdir", "ENOSPC", "+"), ("truncate", "EIO", "")),
    ("open", "EMFILE", ""),
)


def fail_every_call(folder: Path) -> dict[str, Any]:
    """Let each call of a search fail with each error, and resume the search."""
    whole = search_in_child(folder / "whole", SMALL)
    faults, counts, messages = list[str](), Counter[str](), set[str]()
    for name, error, repeat in ERRORS:
        injection = name, f"error={error}:when=%d{repeat}"
        for path, attempt, call in hit_every_call(folder, search_small, injection, create_nothing):
            counts[f"{name} {error}"] += 1
            faults += [f"{call}: {fault}" for fault in find_broken_files(path)]
            faults += find_unclear_end(attempt, call)
            messages.add(read_message(attempt).replace(str(path), "RUN"))
            faults += find_resume_faults(path, whole, call)
    return {"counts": counts, "faults": faults, "messages": sorted(messages - {""})}


def interrupt_cache_at_every_call(folder: Path) -> dict[str, Any]:
    """Kill a process that fills a cache at each of its calls, and let each call fail."""
    counts, faults, messages = Counter[str](), list[str](), set[str]()
    kills = [(name, KILL) for name in WRITING_CALLS]
    errors = [(name, f"error={error}:when=%d{repeat}") for name, error, repeat in ERRORS]
    for injection in [*kills, *errors]:
        for path, attempt, call in hit_every_call(folder, saves.fill_cache, injection):
            counts[" ".join(injection)] += 1
            faults += [f"{call}: {fault}" for fault in saves.find_cache_faults(path)]
            if attempt.code != KILLED:
                faults += find_unclear_end(attempt, call)
                messages.add(read_message(attempt))
    return {"counts": counts, "faults": faults, "messages": sorted(messages - {""})}


def fill_small_disks(folder: Path) -> dict[str, Any]:
    """Search on disks that are too small, enlarge them, and resume the search."""
    whole, disk = search_in_child(folder / "whole", SMALL), folder / "disk"
    faults, messages = list[str](), list[str]()
    disk.mkdir()
    for size in SIZES:
        if not mount_memory_disk(disk, f"size={size}k"):
            return {"mounted": False}
        try:
            attempt = run_attempt(partial(search, disk / "run", SMALL, warn=expect_none))
            faults += find_unclear_end(attempt, f"{size} kB") + find_broken_files(disk / "run")
            messages.append(read_message(attempt))
            assert mount_memory_disk(disk, "remount,size=50m")
            faults += find_resume_faults(disk / "run", whole, f"{size} kB")
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return {"mounted": True, "faults": faults, "messages": messages}


def mount_memory_disk(disk: Path, options: str) -> bool:
    """Mount a disk in memory and return whether that was permitted."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def read_message(attempt: Attempt) -> str:
    """Return the output of an attempt without its progress."""
    lines = attempt.output.splitlines()
    return "\n".join(line for line in lines if not line.startswith("done: "))


def find_unclear_end(attempt: Attempt, call: str) -> list[str]:
    """Return a fault unless the attempt succeeded, or failed with code 1 or 2 and one line."""
    text = read_message(attempt)
    if attempt.code == 0 or (attempt.code in {1, 2} and text and "\n" not in text):
        return []
    return [f"{call}: exit code {attempt.code}: {text[-300:]}"]
