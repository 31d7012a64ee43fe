"""Shards of the cache on disk, their listing, and the size limit of the cache."""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from veduta.errors import InputError
from veduta.runtime.disk import sync, sync_tree, write_atomically
from veduta.runtime.locks import attempt

FINISHED, PARTIAL = "shard-", "partial-"
ROWS, KEYS = "rows.npy", "keys.json"
RESERVE = 64 * 2**20  # bytes that stay free on the disk for everything else
SCATTERED = 16  # rows a part, below which they are quicker copied row by row than part by part


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows on disk, memory-mapped, (len(keys), *row shape)."""

    keys: tuple[str | None, ...]
    rows: NDArray[Any]


def read(folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Shard | None:
    """A shard, or None where it is damaged: truncated, of another shape, without its keys."""
    try:
        keys = json.loads((folder / KEYS).read_text(encoding="utf-8"))
        rows = np.load(folder / ROWS, mmap_mode="r", allow_pickle=False)
        size = (folder / ROWS).stat().st_size
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(keys, list) or not all(key is None or isinstance(key, str) for key in keys):
        return None
    whole = isinstance(rows, np.memmap) and rows.offset + rows.nbytes == size
    if not whole or rows.shape != (len(keys), *shape) or rows.dtype != dtype:
        return None
    return Shard(tuple(keys), np.asarray(rows))


@final
class Draft:
    """A shard in the making, seen by nobody.

    Args:
        parent: Folder of the shards.
        shape: Of the array, (rows, *row shape).
        dtype: Of its numbers.

    Raises:
        InputError: the disk has no room for it.
    """

    def __init__(self, parent: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        _expect_room(parent, needed)
        self.folder = parent / f"{PARTIAL}{secrets.token_hex(4)}"
        self.folder.mkdir()
        self.rows: np.memmap[Any, Any] = open_memmap(
            self.folder / ROWS, mode="w+", dtype=dtype, shape=shape
        )
        self._descriptor = os.open(self.folder / ROWS, os.O_RDWR | os.O_CLOEXEC)
        try:
            _reserve(self._descriptor, self.rows.offset + self.rows.nbytes)
        except OSError as error:
            self.discard()
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise _full(parent, needed) from error
            raise

    def write(self, index: int, row: NDArray[Any]) -> None:
        """Row `index`; a fifth quicker than an assignment, which faults page by page.

        Raises:
            ValueError: the row has another shape or type.
        """
        if row.shape != self.rows.shape[1:] or row.dtype != self.rows.dtype:
            expected = f"{self.rows.shape[1:]} {self.rows.dtype}"
            raise ValueError(f"a row must be {expected}; got {row.shape} {row.dtype}")
        left = np.ascontiguousarray(row).reshape(-1).view(np.uint8).data
        offset = self.rows.offset + index * len(left)
        while left:
            written = os.pwrite(self._descriptor, left, offset)
            left, offset = left[written:], offset + written

    def publish(self, keys: Sequence[str | None]) -> None:
        """Make the shard visible, once all of it is on the disk."""
        self.rows.flush()
        write_atomically(self.folder / KEYS, json.dumps(list(keys)))
        sync_tree(self.folder)
        parent = self.folder.parent
        number = sum(1 for _ in parent.glob(f"{FINISHED}*"))
        name = f"{FINISHED}{number:04}-{self.folder.name.removeprefix(PARTIAL)}"
        self.folder.rename(parent / name)
        sync(parent)

    def discard(self) -> None:
        """Close it, and remove it unless it was published."""
        os.close(self._descriptor)
        shutil.rmtree(self.folder, ignore_errors=True)


@final
class Rows:
    """Rows in the order they were asked for; they stay on the disk until they are taken.

    Attributes:
        shape: (rows, *row shape).
        dtype: Of the numbers.
    """

    def __init__(
        self,
        parts: Sequence[NDArray[Any]],
        part: NDArray[np.intp],
        row: NDArray[np.intp],
        like: NDArray[Any],
    ) -> None:
        self.shape: tuple[int, ...] = (len(row), *like.shape[1:])
        self.dtype = like.dtype
        self._parts, self._part, self._row = parts, part, row
        alone = len(part) > 0 and bool((part == part[0]).all())
        self._only = parts[part[0]] if alone else None

    def __len__(self) -> int:
        return len(self._row)

    def among(self, chosen: slice | NDArray[np.intp]) -> "Rows":
        """Some of these rows, on the disk still."""
        like = np.empty((0, *self.shape[1:]), self.dtype)
        return Rows(self._parts, self._part[chosen], self._row[chosen], like)

    def take(
        self, indices: NDArray[Any] | slice | None = None, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """A copy of some rows, (n, *row shape), contiguous; all of them for None; in `out`."""
        chosen = slice(None) if indices is None else indices
        row = self._row[chosen]
        if out is None:
            out = np.empty((len(row), *self.shape[1:]), self.dtype)
        if self._only is not None:
            return np.take(self._only, row, axis=0, out=out, mode="clip")  # others copy twice
        part = self._part[chosen]
        if 0 < len(row) < SCATTERED * len(self._parts):
            places = zip(part.tolist(), row.tolist(), strict=True)
            return np.concatenate([self._parts[p][r : r + 1] for p, r in places], out=out)
        for number in np.unique(part):
            mask = part == number
            out[mask] = np.take(self._parts[number], row[mask], axis=0)
        return out


def _reserve(descriptor: int, size: int) -> None:
    """Claim the room now: a full disk would be a SIGBUS in the middle of the work."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise


def _expect_room(folder: Path, needed: int) -> None:
    if needed + RESERVE > shutil.disk_usage(folder).free:
        raise _full(folder, needed)


def _full(folder: Path, needed: int) -> InputError:
    free = shutil.disk_usage(folder).free
    return InputError(
        f"the cache must have room for {needed / 1e9:.2f} GB more, with {RESERVE / 1e9:.2f} GB to "
        f"spare; {folder} has {free / 1e9:.2f} GB free; free some space, or set VEDUTA_CACHE to a "
        "folder on a larger disk"
    )


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
