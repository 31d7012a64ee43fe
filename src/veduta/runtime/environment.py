"""What the environment says: where the cache is, what is installed. Nothing else reads it."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from veduta.errors import InputError


def cache_folder() -> Path:
    """Where decoded pixels, features and converted weights are kept between runs.

    `VEDUTA_CACHE` if it is set, else the user's cache folder of the platform.

    Raises:
        InputError: the user has no home folder.
    """
    try:
        return _cache_folder().absolute()
    except RuntimeError as error:
        raise InputError(
            f"a cache folder is needed, by default in the user's home; {error}: set VEDUTA_CACHE "
            "to a folder that can be written"
        ) from error


@contextmanager
def usable_cache(warn: Callable[[str], None]) -> Iterator[Path]:
    """The cache folder; where it cannot be written, one that serves this once and is removed.

    Args:
        warn: told so.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        with tempfile.TemporaryDirectory(prefix="veduta-") as instead:
            warn(
                f"the cache must be a folder that can be written; {folder}: "
                f"{error.strerror or error}; {instead} serves this once and is removed, so nothing "
                "is reused, and whether the test was opened before is not known: set VEDUTA_CACHE "
                "to another folder"
            )
            yield Path(instead)
    else:
        yield folder


def _cache_folder() -> Path:
    if chosen := os.environ.get("VEDUTA_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "veduta"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "veduta"


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return find_spec(package) is not None


def is_x86() -> bool:
    """Whether the processor is of the x86-64 family, where OpenVINO's f32 kernels are at home."""
    return platform.machine().lower() in {"x86_64", "amd64"}
