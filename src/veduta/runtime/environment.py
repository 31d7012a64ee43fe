"""What the environment says: where the cache is, what is installed. Nothing else reads it."""

import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path


def cache_folder() -> Path:
    """Where decoded pixels, features and converted weights are kept between runs.

    `VEDUTA_CACHE` if it is set, else the user's cache folder of the platform.
    """
    if chosen := os.environ.get("VEDUTA_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "veduta"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "veduta" / "Cache"
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
