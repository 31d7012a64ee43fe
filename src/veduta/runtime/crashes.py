"""A crash of native code leaves its traceback in a file, for whoever goes on to know of it."""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def crash_log(path: Path) -> Iterator[None]:
    """Let a crash of this process inside be told of in `path`; without one no file is left.

    Where Python tells of crashes already, as under pytest, or the file cannot be written, nothing
    changes.
    """
    file = None
    if not faulthandler.is_enabled():
        with suppress(OSError):
            file = path.open("wb", buffering=0)
    if file is None:
        yield
        return
    with file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            with suppress(OSError):
                path.unlink()


def crash_in(path: Path) -> str:
    """What a crash was, in words, where the file at `path` tells of one."""
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[0].removeprefix("Fatal Python error: ") if lines else ""
    return ""
