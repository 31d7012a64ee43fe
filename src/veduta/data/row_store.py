"""A cache of rows of one shape, found by content: decoded pixels here, features elsewhere.

Rows live in `root/kind/<hash of spec>/shard-*/`. A shard is whole or absent, whatever was killed
when; two processes that want the same rows make them once.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from veduta.data import cache as shards
from veduta.data.cache import LOCK, MOST_BYTES, SPEC, Entry, Rows, clear, listing, trim
from veduta.errors import InputError
from veduta.runtime.disk import write_atomically
from veduta.runtime.locks import hold

__all__ = ["MOST_BYTES", "Block", "Entry", "RowStore", "Rows", "clear", "listing", "trim"]

Place = tuple[str, int]  # shard, row in it


@final
class Block:
    """Rows to be filled in.

    Attributes:
        keys: One a row; exactly those that are still missing.
        rows: Writable, (len(keys), *row shape).
    """

    def __init__(
        self, keys: Sequence[str], draft: shards.Draft | None, empty: NDArray[Any]
    ) -> None:
        self.keys = tuple(keys)
        self.rows: NDArray[Any] = draft.rows if draft else empty
        self._draft = draft
        self._kept: list[str | None] = list(keys)

    def write(self, index: int, row: NDArray[Any]) -> None:
        """The same as `rows[index] = row`, and quicker where rows are large; safe in threads."""
        if self._draft:
            self._draft.write(index, row)

    def drop(self, index: int) -> None:
        """Row `index` could not be made: its key stays missing."""
        self._kept[index] = None

    def publish(self) -> None:
        """Make the rows that were not dropped visible to everyone."""
        if self._draft and any(self._kept):
            self._draft.publish(self._kept)


@final
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
        empty = np.empty((0, *self.shape), self.dtype)
        if not self.missing(keys):
            yield Block((), None, empty)
            return
        with ExitStack() as stack:
            with _writing(self.root):
                stack.enter_context(hold(self.folder / LOCK))
            self._prepare()
            with _writing(self.root):
                for orphan in self.folder.glob(f"{shards.PARTIAL}*"):
                    shutil.rmtree(orphan, ignore_errors=True)
            wanted = self.missing(keys)
            if not wanted:
                yield Block((), None, empty)
                return
            with _writing(self.root):
                draft = shards.Draft(self.folder, (len(wanted), *self.shape), self.dtype)
            stack.callback(draft.discard)
            block = Block(wanted, draft, empty)
            yield block
            with _writing(self.root):
                block.publish()
            self._scan()  # mapped at once, so that nobody can take the rows away again
        with suppress(OSError):  # the next run may be luckier
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
        """The folder and its `spec.json`, which another process may just have removed."""
        with _writing(self.root):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / SPEC).exists():
                write_atomically(self.folder / SPEC, self._text)

    def _scan(self) -> None:
        """Take in the shards that appeared, by this process or another."""
        with _writing(self.root):
            found = sorted(self.folder.glob(f"{shards.FINISHED}*"))
        for path in found:
            if path.name in self._shards:
                continue
            if shard := shards.read(path, self.shape, self.dtype):
                self._shards[path.name] = shard
                for index, key in enumerate(shard.keys):
                    if key is not None:
                        self._places.setdefault(key, (path.name, index))


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache must be a folder that can be written; {root}: "
            f"{error.strerror or error}; set VEDUTA_CACHE to another folder"
        ) from error
