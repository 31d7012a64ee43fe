"""File locks held by the kernel: they are released whenever the process ends, even if killed."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import BaseFileLock, FileLock, Timeout


@contextmanager
def acquire_lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, after waiting for the process that has it; make its folder.

    Raises:
        OSError: the lock file cannot be created.
    """
    lock = _make_lock(path)
    while not lock.is_locked:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except FileNotFoundError:  # another process removed the folder while this one waited
            continue
    try:
        yield
    finally:
        lock.release()


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock at `path` if no other process does, without waiting; yield whether it is held.

    Raises:
        OSError: the lock file cannot be created.
    """
    lock = _make_lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def lock_open_file(file: BinaryIO) -> None:
    """Lock an open file until it is closed, without waiting.

    `filelock` opens the path that it locks for writing; here the open file itself is locked, which
    may be read-only, and no lock file is left beside it.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file system has no locks.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _make_lock(path: Path) -> BaseFileLock:
    # without flock, the library would create files that outlive a killed process: refuse instead
    return FileLock(path, fallback_to_soft=False)
