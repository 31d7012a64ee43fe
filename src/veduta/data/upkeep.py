"""What the cache holds, and how it is kept below its size.

The cache is `kind/spec/`, each with a `spec.json`; whatever else lies in its folder is not touched.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veduta.data.shards import FINISHED, KEYS

SPEC = "spec.json"
LOCK = "lock"
MOST_BYTES = 20 * 2**30


@dataclass(frozen=True, slots=True)
class Entry:
    """One spec of the cache: `used` is when it was last used, seconds since 1970."""

    folder: Path
    kind: str
    spec: dict[str, Any]
    rows: int
    size: int
    used: float


def listing(root: Path) -> list[Entry]:
    """Everything the cache holds, the least recently used first."""
    return sorted(_entries(root), key=lambda entry: (entry.used, entry.folder))


def clear(root: Path) -> int:
    """Remove everything that no process is writing; returns the bytes freed."""
    return sum(entry.size for entry in listing(root) if _remove(entry.folder))


def trim(root: Path, most_bytes: int = MOST_BYTES, keep: Collection[Path] = ()) -> list[Entry]:
    """Remove the least recently used specs until at most `most_bytes` are left; those removed.

    Folders in `keep` stay, however large they are.
    """
    entries = listing(root)
    total = sum(entry.size for entry in entries)
    removed = []
    for entry in entries:
        if total > most_bytes and entry.folder not in keep and _remove(entry.folder):
            removed.append(entry)
            total -= entry.size
    return removed


def _entries(root: Path) -> Iterator[Entry]:
    for path in root.glob(f"*/*/{SPEC}"):
        folder = path.parent
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            files = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
            rows = sum(
                len(json.loads(keys.read_text(encoding="utf-8")))
                for keys in folder.glob(f"{FINISHED}*/{KEYS}")
            )
            used = path.stat().st_mtime
        except (OSError, ValueError):  # vanished, or damaged: it has no rows to speak of
            continue
        yield Entry(folder, folder.parent.name, spec, rows, sum(files), used)


@contextmanager
def _try_lock(folder: Path) -> Iterator[bool]:
    """Whether nobody is writing to a spec; while the body runs, nobody begins to."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / LOCK, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> bool:
    try:
        with _try_lock(folder) as free:
            if free:
                shutil.rmtree(folder)
            return free
    except OSError:
        return False
