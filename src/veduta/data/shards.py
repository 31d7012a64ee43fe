"""Arrays on disk that are whole or absent: a shard is written beside its place, then renamed.

A shard is a folder with `rows.npy` and `keys.json` (one key a row, null where there is no row).
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from veduta.errors import InputError

FINISHED, PARTIAL = "shard-", "partial-"
ROWS, KEYS = "rows.npy", "keys.json"
RESERVE = 64 * 2**20  # bytes left free on the disk for everything else


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


def allocate(
    parent: Path, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Path, NDArray[Any]]:
    """A folder that nobody sees yet, and its writable rows, (count, *shape).

    Raises:
        InputError: the disk has no room for them.
    """
    needed = count * int(np.prod(shape)) * dtype.itemsize
    free = shutil.disk_usage(parent).free
    if needed + RESERVE > free:
        raise _full(parent, needed, free)
    folder = parent / f"{PARTIAL}{secrets.token_hex(4)}"
    folder.mkdir()
    rows = open_memmap(folder / ROWS, mode="w+", dtype=dtype, shape=(count, *shape))
    if hasattr(os, "posix_fallocate"):  # a full disk must fail here: later it would be a SIGBUS
        with (folder / ROWS).open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, rows.offset + rows.nbytes)
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    raise _full(parent, needed, shutil.disk_usage(parent).free) from error
                if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                    raise
    return folder, rows


def publish(folder: Path, rows: NDArray[Any], keys: Sequence[str | None]) -> None:
    """Make a shard visible, once all of it is on the disk."""
    if isinstance(rows, np.memmap):
        rows.flush()
    (folder / KEYS).write_text(json.dumps(list(keys)), encoding="utf-8")
    for path in (folder / ROWS, folder / KEYS, folder):
        sync(path)
    number = sum(1 for _ in folder.parent.glob(f"{FINISHED}*"))
    name = folder.name.removeprefix(PARTIAL)
    folder.rename(folder.with_name(f"{FINISHED}{number:04}-{name}"))
    sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _full(folder: Path, needed: int, free: int) -> InputError:
    return InputError(
        f"the cache needs {needed / 1e9:.2f} GB more, and {RESERVE / 1e9:.2f} GB stay free; "
        f"{folder} has {free / 1e9:.2f} GB free; free some space, or set VEDUTA_CACHE to a "
        "folder on a larger disk"
    )
