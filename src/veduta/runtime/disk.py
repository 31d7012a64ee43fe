"""The file system: what it takes for a file to be there after a crash, whole, with its mode."""

import hashlib
import os
from pathlib import Path


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
