"""Files of the cache: shards of rows, the list of all entries, and the size limit."""

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
from veduta.runtime.environment import get_content_folder
from veduta.runtime.locks import try_lock
from veduta.types import IndexArray

FINISHED, PARTIAL = "shard-", "partial-"
ROWS, KEYS = "rows.npy", "keys.json"
RESERVED_BYTES = 64 * 2**20  # left free on the disk for everything else
FEW_ROWS = 16  # per shard; fewer are copied faster row by row than shard by shard

SPEC = "spec.json"
LOCK = "lock"
MAX_CACHE_BYTES = 20 * 2**30


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows on disk, memory-mapped, (len(keys), *row shape); a row without a key is unused."""

    keys: tuple[str | None, ...]
    rows: NDArray[Any]


def read_shard(folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Shard | None:
    """Return a shard, or None if it is truncated, has another shape, or lacks its keys."""
    try:
        keys = json.loads((folder / KEYS).read_text(encoding="utf-8"))
        rows = np.load(folder / ROWS, mmap_mode="r", allow_pickle=False)
        size = (folder / ROWS).stat().st_size
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(keys, list) or not all(key is None or isinstance(key, str) for key in keys):
        return None
    is_complete = isinstance(rows, np.memmap) and rows.offset + rows.nbytes == size
    if not is_complete or rows.shape != (len(keys), *shape) or rows.dtype != dtype:
        return None
    return Shard(tuple(keys), np.asarray(rows))


@final
class ShardWriter:
    """Writes a shard, which no reader sees until it is published.

    Args:
        parent: folder of the shards.
        shape: (rows, *row shape).
        dtype: type of the numbers.

    Raises:
        InputError: the disk has no space for it.
    """

    def __init__(self, parent: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        _require_space(parent, needed)
        self.folder = parent / f"{PARTIAL}{secrets.token_hex(4)}"
        self.folder.mkdir()
        self.rows: np.memmap[Any, Any] = open_memmap(
            self.folder / ROWS, mode="w+", dtype=dtype, shape=shape
        )
        self._descriptor = os.open(self.folder / ROWS, os.O_RDWR | os.O_CLOEXEC)
        try:
            _allocate(self._descriptor, self.rows.offset + self.rows.nbytes)
        except OSError as error:
            self.close()
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise _build_space_error(parent, needed) from error
            raise

    def write(self, index: int, row: NDArray[Any]) -> None:
        """Write row `index`; a fifth faster than an assignment, which causes page faults.

        Raises:
            ValueError: the row has another shape or type.
        """
        if row.shape != self.rows.shape[1:] or row.dtype != self.rows.dtype:
            expected = f"{self.rows.shape[1:]} {self.rows.dtype}"
            raise ValueError(f"a row must be {expected}; got {row.shape} {row.dtype}")
        remaining = np.ascontiguousarray(row).reshape(-1).view(np.uint8).data
        offset = self.rows.offset + index * len(remaining)
        while remaining:
            written = os.pwrite(self._descriptor, remaining, offset)
            remaining, offset = remaining[written:], offset + written

    def publish(self, keys: Sequence[str | None]) -> None:
        """Make the shard visible once all of it is on the disk."""
        self.rows.flush()
        write_atomically(self.folder / KEYS, json.dumps(list(keys)))
        sync_tree(self.folder)
        parent = self.folder.parent
        number = sum(1 for _ in parent.glob(f"{FINISHED}*"))
        name = f"{FINISHED}{number:04}-{self.folder.name.removeprefix(PARTIAL)}"
        self.folder.rename(parent / name)
        sync(parent)

    def close(self) -> None:
        """Close the file, and remove the shard unless it was published."""
        os.close(self._descriptor)
        shutil.rmtree(self.folder, ignore_errors=True)


@final
class Rows:
    """Rows of several shards in the requested order, which stay on the disk until `take`.

    Attributes:
        shape: (rows, *row shape).
        dtype: type of the numbers.

    Args:
        shards: the rows of each shard.
        shard_numbers: for each row the number of its shard, (rows,).
        row_numbers: for each row its number in the shard, (rows,).
        empty: no rows, (0, *row shape), with the shape and type of the rows.
    """

    def __init__(
        self,
        shards: Sequence[NDArray[Any]],
        shard_numbers: IndexArray,
        row_numbers: IndexArray,
        empty: NDArray[Any],
    ) -> None:
        self.shape: tuple[int, ...] = (len(row_numbers), *empty.shape[1:])
        self.dtype = empty.dtype
        self._shards, self._shard_numbers, self._row_numbers = shards, shard_numbers, row_numbers
        is_single_shard = len(shard_numbers) > 0 and bool((shard_numbers == shard_numbers[0]).all())
        self._only_shard = shards[shard_numbers[0]] if is_single_shard else None

    def __len__(self) -> int:
        return len(self._row_numbers)

    def select(self, indices: slice | IndexArray) -> "Rows":
        """Return some of the rows, which stay on the disk."""
        empty = np.empty((0, *self.shape[1:]), self.dtype)
        return Rows(self._shards, self._shard_numbers[indices], self._row_numbers[indices], empty)

    def take(
        self, indices: NDArray[Any] | slice | None = None, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return a contiguous copy of some rows (n, *row shape), in `out`; of all rows for None."""
        selected = slice(None) if indices is None else indices
        row_numbers = self._row_numbers[selected]
        if out is None:
            out = np.empty((len(row_numbers), *self.shape[1:]), self.dtype)
        if self._only_shard is not None:  # mode="clip" avoids a second copy
            return np.take(self._only_shard, row_numbers, axis=0, out=out, mode="clip")
        shard_numbers = self._shard_numbers[selected]
        if 0 < len(row_numbers) < FEW_ROWS * len(self._shards):
            positions = zip(shard_numbers.tolist(), row_numbers.tolist(), strict=True)
            rows = [self._shards[shard][row : row + 1] for shard, row in positions]
            return np.concatenate(rows, out=out)
        for number in np.unique(shard_numbers):
            mask = shard_numbers == number
            out[mask] = np.take(self._shards[number], row_numbers[mask], axis=0)
        return out


def _allocate(descriptor: int, size: int) -> None:
    """Allocate the disk space now, as a full disk would cause a SIGBUS during later writes."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise


def _require_space(folder: Path, needed: int) -> None:
    """Raise an InputError unless the disk of a folder has the needed number of bytes free."""
    if needed + RESERVED_BYTES > shutil.disk_usage(folder).free:
        raise _build_space_error(folder, needed)


def _build_space_error(folder: Path, needed: int) -> InputError:
    """Return the error for a disk without the needed number of bytes."""
    free = shutil.disk_usage(folder).free
    return InputError(
        f"the cache needs {needed / 1e9:.2f} GB more, and {RESERVED_BYTES / 1e9:.2f} GB in "
        f"reserve; {folder} has {free / 1e9:.2f} GB free; free some space, or set VEDUTA_CACHE to "
        "a folder on a larger disk"
    )


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A store of the cache.

    Attributes:
        folder: its folder.
        kind: what it holds: `pixels`, `traits`, `features`, ...
        spec: everything besides the content of a file that determines a row.
        rows: number of rows.
        size: bytes on disk.
        used: time of the last use, in seconds since 1970.
    """

    folder: Path
    kind: str
    spec: dict[str, Any]
    rows: int
    size: int
    used: float


def list_entries(root: Path) -> list[CacheEntry]:
    """Return all entries of the cache, the least recently used first."""
    return sorted(_read_entries(root), key=lambda entry: (entry.used, entry.folder))


def remove_entries(root: Path) -> int:
    """Remove all entries that no process is writing, and return the number of bytes freed."""
    return sum(entry.size for entry in list_entries(root) if _remove(entry.folder))


def trim_cache(
    root: Path, max_bytes: int = MAX_CACHE_BYTES, keep: Collection[Path] = ()
) -> list[CacheEntry]:
    """Remove the least recently used entries until the cache has at most `max_bytes`.

    Folders in `keep` are not removed.

    Returns:
        The entries that were removed.
    """
    total = sum(_measure_size(path.parent) for path in get_content_folder(root).glob(f"*/*/{SPEC}"))
    if total <= max_bytes:
        return []
    removed = []
    for entry in list_entries(root):
        if total > max_bytes and entry.folder not in keep and _remove(entry.folder):
            removed.append(entry)
            total -= entry.size
    return removed


def _read_entries(root: Path) -> Iterator[CacheEntry]:
    """Yield all entries of the cache."""
    for path in get_content_folder(root).glob(f"*/*/{SPEC}"):
        folder = path.parent
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            rows = sum(_count_rows(keys) for keys in folder.glob(f"{FINISHED}*/{KEYS}"))
            used = path.stat().st_mtime
        except (OSError, ValueError):  # removed or damaged: of no use to any process
            spec, rows, used = {}, 0, 0.0
        yield CacheEntry(folder, folder.parent.name, spec, rows, _measure_size(folder), used)


def _count_rows(keys: Path) -> int:
    """Return the number of rows of a shard."""
    return sum(key is not None for key in json.loads(keys.read_text(encoding="utf-8")))


def _measure_size(folder: Path) -> int:
    """Return the number of bytes in a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # removed by another process
            continue
    return total


def _remove(folder: Path) -> bool:
    """Remove an entry unless a process is writing it; readers keep what they have mapped."""
    try:
        with try_lock(folder / LOCK) as is_locked:
            if is_locked:
                shutil.rmtree(folder)
            return is_locked
    except OSError:
        return False
