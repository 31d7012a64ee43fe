"""Work in which a fault hits the first system call of a kind, then the second, up to the last."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

from tests.faults.forks import Attempt, Report, make_strace_options, run_attempt

KILL = "signal=KILL:when=%d"
WRITING_CALLS = ("write", "fsync", "rename", "truncate", "unlink", "mkdir")
Work = Callable[[Path, Report], None]


def hit_every_call(
    folder: Path, work: Work, call: tuple[str, str], begin: Callable[[Path], object] = Path.mkdir
) -> Iterator[tuple[Path, Attempt, str]]:
    """Attempt the work in new directories until an attempt is not hit any more.

    Args:
        folder: where the directories are created.
        work: the work in a directory.
        call: a key of `forks.CALLS`, and the fault for strace with a placeholder for the number.
        begin: creates the directory.

    Yields:
        The directory, the attempt, and a description of the call that was hit.
    """
    name, fault = call
    for number in count(1):
        path = folder / f"{name}-{number}"
        begin(path)
        options = make_strace_options(name, fault % number)
        attempt = run_attempt(partial(work, path), strace_options=options)
        if attempt.was_hit:
            yield path, attempt, f"{name} {number}, {fault}"
        shutil.rmtree(path, ignore_errors=True)
        if not attempt.was_hit:
            return


def create_nothing(_: Path) -> None:
    """Leave it to the work to create its directory."""
