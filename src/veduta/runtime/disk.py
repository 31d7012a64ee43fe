"""Durable writes to the file system, and the check of a safetensors header."""

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

WAITING = 8  # files at a time: a file system joins what is waited for together, 300 files in 1/30

FORMER = "former"
"""Where the folder that is being replaced stands for a moment, in the scratch folder."""


def write_atomically(path: Path, content: bytes | str, *more: bytes) -> None:
    """Write `content`, and `more` behind it, beside `path`; make it durable, put it in place.

    The file's mode follows the umask; on any error the old file stays and the error is raised.
    """
    first = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    name = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((first, *more))
            file.flush()
            os.fsync(file.fileno())
        name.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is what is reported
            name.unlink()
        raise
    sync(path.parent)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yields a new folder to be filled; then it is made durable and stands in place of `folder`.

    On any error what stood there stays. A process that is killed between the two renames leaves the
    former folder beside its place, where `restore_folder` finds it.
    """
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True
    ) as scratch:
        building, former = Path(scratch) / folder.name, Path(scratch) / FORMER
        building.mkdir()
        yield building
        sync_tree(building)
        try:
            if folder.exists():
                folder.rename(former)
            building.rename(folder)
        except BaseException:
            restore_folder(Path(scratch), folder)
            raise
        sync(folder.parent)


def restore_folder(scratch: Path, folder: Path) -> None:
    """Put back what `replace_folder` had moved away, where nothing stands in its place."""
    if (scratch / FORMER).is_dir() and not folder.exists():
        (scratch / FORMER).rename(folder)
        sync(folder.parent)


def make_folder(path: Path) -> None:
    """Make a folder, durably, unless it is there; its parent is."""
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        sync(path.parent)


def sync_tree(folder: Path) -> None:
    """Wait until all files in a folder, its own folders and their names are on the disk."""
    walked = [(Path(parent), names) for parent, _, names in os.walk(folder)]
    with ThreadPoolExecutor(WAITING) as pool:
        list(pool.map(sync, [parent / name for parent, names in walked for name in names]))
        list(pool.map(sync, [parent for parent, _ in walked]))


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def mode_of_files() -> int:
    """The mode of a new file: what the umask leaves of reading and writing for all."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def digest_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


LENGTH = 8  # bytes, little endian, that say how long the header is
MOST = 4 * 2**20  # bytes of header; those of the largest networks of timm have a tenth


def expect_head(path: Path) -> None:
    """Do nothing where a file begins as a safetensors file of its size does.

    Raises:
        ValueError: it does not; the reason, for people.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(LENGTH + 1)
    length = int.from_bytes(start[:LENGTH], "little")
    if len(start) <= LENGTH or start[LENGTH:] != b"{":
        raise ValueError("it does not begin with the length of a header, and the header")
    if length > min(MOST, size - LENGTH):
        raise ValueError(f"its header says that it has {length:,} bytes, too many for such a file")
