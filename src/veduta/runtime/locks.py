"""Kernel locks on files: any death of the process releases them, so none is ever stale."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock, waiting for whoever has it; its folder is made where it is missing.

    Raises:
        OSError: the file cannot be made.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _stands(descriptor, path):  # its folder may have been removed while we waited
                yield
                return


@contextmanager
def attempt(path: Path) -> Iterator[bool]:
    """Hold the lock if nobody else does; whether it is held.

    Raises:
        OSError: the file cannot be made.
    """
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except BlockingIOError:
            held = False
        yield held


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, FLAGS, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _stands(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
