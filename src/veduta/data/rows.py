"""A cache of rows of one shape, found by content: decoded pixels here, features elsewhere.

Rows live in `root/kind/<hash of spec>/shard-*/`. A shard is whole or absent, whatever was killed
when; two processes that want the same rows make them once.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veduta.data import shards
from veduta.data.upkeep import LOCK, MOST_BYTES, SPEC, Entry, clear, listing, trim
from veduta.errors import InputError

__all__ = ["MOST_BYTES", "Block", "Entry", "RowStore", "Rows", "clear", "listing", "trim"]

Place = tuple[str, int]  # shard, row in it


@dataclass(slots=True)
class Block:
    """Rows to be filled in.

    Attributes:
        keys: One a row; exactly those that are still missing.
        rows: Writable, (len(keys), *row shape).
    """

    keys: tuple[str, ...]
    rows: NDArray[Any]
    dropped: set[int] = field(default_factory=set)

    def drop(self, index: int) -> None:
        """Row `index` could not be made: its key stays missing."""
        self.dropped.add(index)


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
        self.shape = (len(row), *like.shape[1:])
        self.dtype = like.dtype
        self._parts, self._part, self._row, self._like = parts, part, row, like

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, indices: NDArray[Any] | slice | None = None) -> NDArray[Any]:
        """A copy of some rows, (n, *row shape), contiguous; all of them for None."""
        chosen = slice(None) if indices is None else indices
        part, row = self._part[chosen], self._row[chosen]
        if not len(row):
            return np.empty((0, *self.shape[1:]), self.dtype)
        first = part[0]
        if (part == first).all():
            rows = self._parts[first]
            if (np.diff(row) == 1).all():
                return np.array(rows[row[0] : row[-1] + 1])
            return np.ascontiguousarray(rows[row])
        out = np.empty((len(row), *self.shape[1:]), self.dtype)
        for number in np.unique(part):
            mask = part == number
            out[mask] = self._parts[number][row[mask]]
        return out


class RowStore:
    """The rows of one kind and spec.

    Args:
        root: Folder of the cache.
        kind: What the rows are, a word: `pixels`, `features`.
        spec: Everything besides the content that decides a row; must be plain JSON values.
        shape: Of one row.
        dtype: Of its numbers, as NumPy spells it.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(
        self, root: Path, kind: str, spec: Mapping[str, Any], *, shape: tuple[int, ...], dtype: str
    ) -> None:
        self.root, self.shape, self.dtype = Path(root), tuple(shape), np.dtype(dtype)
        full = {"spec": dict(spec), "shape": list(shape), "dtype": self.dtype.str}
        self._text = json.dumps(full, sort_keys=True, separators=(",", ":"), allow_nan=False)
        name = hashlib.sha256(self._text.encode()).hexdigest()[:16]
        self.folder = self.root / kind / name
        self._shards: dict[str, shards.Shard] = {}
        self._places: dict[str, Place] = {}
        self._prepare()

    def known(self) -> set[str]:
        """Keys that have a row."""
        self._scan()
        return set(self._places)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that have no row yet: each once, in the given order."""
        self._scan()
        return [key for key in dict.fromkeys(keys) if key not in self._places]

    @contextmanager
    def fill(self, keys: Sequence[str]) -> Iterator[Block]:
        """Make the rows that are missing among `keys`; on leaving they are there for everyone.

        Waits for another process that is filling the same spec, and then counts its rows. When
        the body raises, nothing is kept.

        Raises:
            InputError: the disk has no room for the rows.
        """
        if not self.missing(keys):
            yield Block((), np.empty((0, *self.shape), self.dtype))
            return
        with self._locked():
            wanted = tuple(self.missing(keys))
            for orphan in self.folder.glob(f"{shards.PARTIAL}*"):
                shutil.rmtree(orphan, ignore_errors=True)
            if not wanted:
                yield Block((), np.empty((0, *self.shape), self.dtype))
                return
            folder, rows = shards.allocate(self.folder, len(wanted), self.shape, self.dtype)
            try:
                block = Block(wanted, rows)
                yield block
                kept = [None if i in block.dropped else key for i, key in enumerate(wanted)]
                if any(kept):
                    shards.publish(folder, rows, kept)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            self._scan()
        trim(self.root, MOST_BYTES, {self.folder})

    def rows(self, keys: Sequence[str]) -> Rows:
        """The rows of `keys`, in that order; a key may stand in it more than once.

        Raises:
            KeyError: a key has no row; see `missing`.
        """
        self._scan()
        with suppress(OSError):
            os.utime(self.folder / SPEC)
        names = list(self._shards)
        number = {name: i for i, name in enumerate(names)}
        places = [self._places[key] for key in keys]
        part = np.array([number[name] for name, _ in places], dtype=np.intp)
        row = np.array([index for _, index in places], dtype=np.intp)
        like = np.empty((0, *self.shape), self.dtype)
        return Rows([self._shards[name].rows for name in names], part, row, like)

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / SPEC).exists():
                partial = self.folder / f"{SPEC}.{os.getpid()}"
                partial.write_text(self._text, encoding="utf-8")
                partial.replace(self.folder / SPEC)
        except OSError as error:
            raise InputError(
                f"the cache must be a folder that can be written; {self.root}: "
                f"{error.strerror or error}; set VEDUTA_CACHE to another folder"
            ) from error

    def _scan(self) -> None:
        """Take in the shards that appeared, by this process or another."""
        for path in sorted(self.folder.glob(f"{shards.FINISHED}*")):
            if path.name in self._shards:
                continue
            if shard := shards.read(path, self.shape, self.dtype):
                self._shards[path.name] = shard
                for index, key in enumerate(shard.keys):
                    if key is not None:
                        self._places.setdefault(key, (path.name, index))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the kernel's lock on the spec; it dies with the process."""
        while True:
            self._prepare()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.folder / LOCK, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_at(descriptor, self.folder / LOCK):
                    yield
                    return
            finally:
                os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the locked file still stands in its place: the spec may have been removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
