"""Environment of the process: cache folder, CPU cores, installed packages."""

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from veduta.errors import InputError, describe_os_error

CONTENT_FOLDER: Final = "v1"
"""Folder in the cache for content that can be computed again; a new format gets a new name."""


def get_cache_folder() -> Path:
    """Return the folder for files that are kept between runs.

    It is the value of `VEDUTA_CACHE` or the user's cache folder on this platform.

    Raises:
        InputError: the user has no home folder.
    """
    try:
        setting = os.environ.get("VEDUTA_CACHE")
        folder = Path(setting) if setting else user_cache_path("veduta", appauthor=False)
        return folder.expanduser().absolute()
    except RuntimeError as error:
        raise InputError(
            f"a cache folder is needed, by default in the user's home folder; {error}: set "
            "VEDUTA_CACHE to a writable folder"
        ) from error


def get_content_folder(cache: Path) -> Path:
    """Return the folder in the cache for pixels, features and quantized networks.

    Downloaded weights and the ledger of test evaluations are kept outside this folder: they do not
    depend on the format of the content, and the ledger cannot be computed again.
    """
    return cache / CONTENT_FOLDER


@contextmanager
def open_cache(warn: Callable[[str], None]) -> Iterator[Path]:
    """Yield the cache folder, or a temporary folder if the cache folder is not writable.

    Args:
        warn: called with the message that a temporary folder is used.
    """
    folder = get_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        with tempfile.TemporaryDirectory(prefix="veduta-") as temporary:
            warn(
                f"the cache folder must be writable; {folder}: {describe_os_error(error)}; the "
                f"temporary folder {temporary} is used for this run and removed afterwards, so "
                "nothing is reused and earlier evaluations on the test set are unknown: set "
                "VEDUTA_CACHE to another folder"
            )
            yield Path(temporary)
    else:
        yield folder


def count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return find_spec(package) is not None


def is_x86() -> bool:
    """Return whether the CPU is an x86-64 CPU, for which OpenVINO has optimized kernels."""
    return platform.machine().lower() in {"x86_64", "amd64"}
