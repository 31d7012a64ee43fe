"""Searches and savings whose system calls fail, or whose disk is too small."""

import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import saving
from tests.faults.forks import KILLED, Ended, attempt
from tests.faults.searching import SMALL, broken, done, expect_none, finish, search, search_small
from tests.faults.stepping import KILL, KILLING, every_call, not_yet

SIZES = range(4, 100, 8)  # kB of disks that are too small, up to one that is not
ERRORS = (  # a disk that is full stays full
    *(("write", "ENOSPC", "+"), ("write", "EIO", ""), ("write", "EDQUOT", "+")),
    *(("fsync", "ENOSPC", "+"), ("fsync", "EIO", ""), ("rename", "ENOSPC", "+")),
    *(("rename", "EIO", ""), ("mkdir", "ENOSPC", "+"), ("truncate", "EIO", "")),
    ("open", "EMFILE", ""),
)


def every_error(folder: Path) -> dict[str, Any]:
    """Let each call of a search fail, in each way; then it goes on."""
    whole, faults, counts = done(folder / "whole", SMALL), list[str](), Counter[str]()
    told: set[str] = set()
    for name, error, more in ERRORS:
        call = name, f"error={error}:when=%d{more}"
        for path, ended, where in every_call(folder, search_small, call, not_yet):
            counts[f"{name} {error}"] += 1
            faults += [f"{where}: {fault}" for fault in broken(path)]
            faults += unclear(ended, where)
            told.add(message(ended).replace(str(path), "RUN"))
            faults += finish(path, whole, where)
    return {"counts": counts, "faults": faults, "told": sorted(told - {""})}


def every_fill(folder: Path) -> dict[str, Any]:
    """Kill whoever fills a cache at each of its calls, and let each call fail."""
    counts, faults, told = Counter[str](), list[str](), set[str]()
    errors = [(name, f"error={error}:when=%d{more}") for name, error, more in ERRORS]
    for call in [*((name, KILL) for name in KILLING), *errors]:
        for path, ended, where in every_call(folder, saving.fill, call):
            counts[" ".join(call)] += 1
            faults += [f"{where}: {one}" for one in saving.wrong_rows(path)]
            if ended.code != KILLED:
                faults += unclear(ended, where)
                told.add(message(ended))
    return {"counts": counts, "faults": faults, "told": sorted(told - {""})}


def small_disks(folder: Path) -> dict[str, Any]:
    """Search on disks that are too small, by more and more; then they are made larger."""
    whole, faults, told, disk = (
        done(folder / "whole", SMALL),
        list[str](),
        list[str](),
        folder / "d",
    )
    disk.mkdir()
    for size in SIZES:
        if not mounted(disk, f"size={size}k"):
            return {"mounted": False}
        try:
            ended = attempt(partial(search, disk / "run", SMALL, warn=expect_none))
            where = f"{size} kB"
            faults += unclear(ended, where) + broken(disk / "run")
            told.append(message(ended))
            assert mounted(disk, "remount,size=50m")
            faults += finish(disk / "run", whole, where)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return {"mounted": True, "faults": faults, "told": told}


def mounted(disk: Path, how: str) -> bool:
    """Whether a disk in memory could be mounted like this."""
    words = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(disk)]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def message(ended: Ended) -> str:
    return "\n".join(line for line in ended.told.splitlines() if not line.startswith("done: "))


def unclear(ended: Ended, where: str) -> list[str]:
    """What is wrong with how it ended: well, or with one line and an exit code of ours."""
    text = message(ended)
    if ended.code == 0 or (ended.code in {1, 2} and text.count("\n") == 0 and text):
        return []
    return [f"{where}: ended with {ended.code}: {text[-300:]}"]
