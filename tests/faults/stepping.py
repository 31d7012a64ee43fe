"""Work that is struck at its first system call of a kind, at the second, up to the last."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

from tests.faults.forks import Ended, attempt, struck

KILL = "signal=KILL:when=%d"
KILLING = ("write", "fsync", "rename", "truncate", "unlink", "mkdir")
Work = Callable[[Path, Callable[[str], None]], None]


def every_call(
    folder: Path, work: Work, call: tuple[str, str], begin: Callable[[Path], object] = Path.mkdir
) -> Iterator[tuple[Path, Ended, str]]:
    """Attempts, each in a directory of its own, until one is not struck any more.

    Args:
        folder: where the directories are made.
        work: what is attempted in one.
        call: a name of `forks.CALLS`, and what strace does, with a place for the number.
        begin: makes the directory.

    Yields:
        The directory, how the attempt ended, and where it was struck, in words.
    """
    name, fault = call
    for number in count(1):
        path = folder / f"{name}-{number}"
        begin(path)
        ended = attempt(partial(work, path), traced=struck(name, fault % number))
        if ended.struck:
            yield path, ended, f"{name} {number}, {fault}"
        shutil.rmtree(path, ignore_errors=True)
        if not ended.struck:
            return


def not_yet(_: Path) -> None:
    """Begins nothing: the work makes its directory itself."""
