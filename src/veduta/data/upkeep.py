"""What the cache holds, and how it is kept below its size.

The cache is `kind/spec/`, each with a `spec.json`; whatever else lies in its folder is not touched.
"""

import json
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veduta.data.locks import attempt
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
    total = sum(_size(path.parent) for path in root.glob(f"*/*/{SPEC}"))
    if total <= most_bytes:
        return []
    removed = []
    for entry in listing(root):
        if total > most_bytes and entry.folder not in keep and _remove(entry.folder):
            removed.append(entry)
            total -= entry.size
    return removed


def _entries(root: Path) -> Iterator[Entry]:
    for path in root.glob(f"*/*/{SPEC}"):
        folder = path.parent
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            rows = sum(_rows(keys) for keys in folder.glob(f"{FINISHED}*/{KEYS}"))
            used = path.stat().st_mtime
        except (OSError, ValueError):  # vanished or damaged: nobody can use it
            spec, rows, used = {}, 0, 0.0
        yield Entry(folder, folder.parent.name, spec, rows, _size(folder), used)


def _rows(keys: Path) -> int:
    return sum(key is not None for key in json.loads(keys.read_text(encoding="utf-8")))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # vanished: another process is at work
            continue
    return total


def _remove(folder: Path) -> bool:
    """Remove a spec that no process is writing; those that read it keep what they have mapped."""
    try:
        with attempt(folder / LOCK) as held:
            if held:
                shutil.rmtree(folder)
            return held
    except OSError:
        return False
