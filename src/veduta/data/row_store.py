"""A cache of rows of one shape, keyed by file content: decoded pixels, traits, features.

Rows are in `root/kind/<hash of spec>/shard-*/`. A shard is complete or absent, even if a process is
killed, and two processes that need the same rows compute them once. Own code instead of zarr or
LMDB: it has to memory-map large rows, write them from threads, and check every file after a crash.
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

from veduta.data.cache import (
    FINISHED,
    LOCK,
    MAX_CACHE_BYTES,
    PARTIAL,
    SPEC,
    Rows,
    Shard,
    ShardWriter,
    read_shard,
    trim_cache,
)
from veduta.errors import InputError, describe_os_error
from veduta.runtime.disk import write_atomically
from veduta.runtime.environment import get_content_folder
from veduta.runtime.locks import acquire_lock

__all__ = ["Block", "RowStore", "Rows"]

Position = tuple[str, int]  # name of the shard, number of the row in it


@final
class Block:
    """Rows to be computed.

    Attributes:
        keys: the keys whose rows are missing, one per row.
        rows: writable, (len(keys), *row shape).
    """

    def __init__(
        self, keys: Sequence[str], writer: ShardWriter | None, empty: NDArray[Any]
    ) -> None:
        self.keys = tuple(keys)
        self.rows: NDArray[Any] = writer.rows if writer else empty
        self._writer = writer
        self._kept_keys: list[str | None] = list(keys)

    def write(self, index: int, row: NDArray[Any]) -> None:
        """Write a row like `rows[index] = row`, but faster for large rows; safe in threads."""
        if self._writer:
            self._writer.write(index, row)

    def drop(self, index: int) -> None:
        """Leave row `index`, which could not be computed, missing."""
        self._kept_keys[index] = None

    def publish(self) -> None:
        """Make the rows that were not dropped visible to all processes."""
        if self._writer and any(self._kept_keys):
            self._writer.publish(self._kept_keys)


@final
class RowStore:
    """The rows of one kind and spec.

    Args:
        root: folder of the cache.
        kind: what the rows are, in one word: `pixels`, `features`.
        spec: everything besides the content of a file that determines a row, as JSON values.
        shape: shape of one row.
        dtype: type of the numbers, by NumPy's name.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(
        self, root: Path, kind: str, spec: Mapping[str, Any], *, shape: tuple[int, ...], dtype: str
    ) -> None:
        self.root, self.shape, self.dtype = Path(root), tuple(shape), np.dtype(dtype)
        full_spec = {"spec": dict(spec), "shape": list(shape), "dtype": self.dtype.str}
        self._spec_json = json.dumps(
            full_spec, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
        name = hashlib.sha256(self._spec_json.encode()).hexdigest()[:16]
        self.folder = get_content_folder(self.root) / kind / name
        self._shards: dict[str, Shard] = {}
        self._positions: dict[str, Position] = {}
        self._create_folder()

    def find_keys(self) -> set[str]:
        """Return the keys that have a row."""
        self._read_new_shards()
        return set(self._positions)

    def find_missing(self, keys: Sequence[str]) -> list[str]:
        """Return the keys that have no row, each once, in the given order."""
        self._read_new_shards()
        return [key for key in dict.fromkeys(keys) if key not in self._positions]

    @contextmanager
    def fill(self, keys: Sequence[str]) -> Iterator[Block]:
        """Return a block for the missing rows of `keys`, and publish it when the body is left.

        Waits for another process that fills a store of the same spec, and then uses its rows. If
        the body raises, nothing is kept.

        Raises:
            InputError: the disk has no space for the rows.
        """
        empty = np.empty((0, *self.shape), self.dtype)
        if not self.find_missing(keys):
            yield Block((), None, empty)
            return
        with ExitStack() as stack:
            with _explain_cache_errors(self.root):
                stack.enter_context(acquire_lock(self.folder / LOCK))
            self._create_folder()
            with _explain_cache_errors(self.root):
                for abandoned in self.folder.glob(f"{PARTIAL}*"):
                    shutil.rmtree(abandoned, ignore_errors=True)
            missing = self.find_missing(keys)
            if not missing:
                yield Block((), None, empty)
                return
            with _explain_cache_errors(self.root):
                writer = ShardWriter(self.folder, (len(missing), *self.shape), self.dtype)
            stack.callback(writer.close)
            block = Block(missing, writer, empty)
            yield block
            with _explain_cache_errors(self.root):
                block.publish()
            self._read_new_shards()  # maps the rows before another process can remove them
        with suppress(OSError):  # trimming is repeated after the next block
            trim_cache(self.root, MAX_CACHE_BYTES, {self.folder})

    def load_rows(self, keys: Sequence[str]) -> Rows:
        """Return the rows of `keys` in that order; a key may occur more than once.

        Raises:
            KeyError: a key has no row; see `find_missing`.
        """
        self._read_new_shards()
        with suppress(OSError):
            os.utime(self.folder / SPEC)
        names = list(self._shards)
        number_by_name = {name: number for number, name in enumerate(names)}
        positions = [self._positions[key] for key in keys]
        shard_numbers = np.array([number_by_name[name] for name, _ in positions], dtype=np.intp)
        row_numbers = np.array([index for _, index in positions], dtype=np.intp)
        empty = np.empty((0, *self.shape), self.dtype)
        return Rows([self._shards[name].rows for name in names], shard_numbers, row_numbers, empty)

    def _create_folder(self) -> None:
        """Create the folder and its `spec.json`, which another process may have removed."""
        with _explain_cache_errors(self.root):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / SPEC).exists():
                write_atomically(self.folder / SPEC, self._spec_json)

    def _read_new_shards(self) -> None:
        """Map the shards that this or another process has published."""
        with _explain_cache_errors(self.root):
            paths = sorted(self.folder.glob(f"{FINISHED}*"))
        for path in paths:
            if path.name in self._shards:
                continue
            if shard := read_shard(path, self.shape, self.dtype):
                self._shards[path.name] = shard
                for index, key in enumerate(shard.keys):
                    if key is not None:
                        self._positions.setdefault(key, (path.name, index))


@contextmanager
def _explain_cache_errors(root: Path) -> Iterator[None]:
    """Turn the errors of the file system into an InputError that names the cache."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache must be a writable folder; {root}: {describe_os_error(error)}; set "
            "VEDUTA_CACHE to another folder"
        ) from error
