"""Work that does nothing but save, and what must hold wherever it was killed or failed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.searching import leftovers
from tests.runs.test_checkpoints import number_of, tensors
from veduta.data.row_store import RowStore
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory, tidy

SAVES = 4


def save(path: Path, tell: Callable[[str], None], count: int = SAVES) -> None:
    """Save so many; tell of each that is saved."""
    found = Checkpoints(RunDirectory(path).checkpoints, "trial")
    first = number_of(found.newest())
    for number in range(0 if first is None else first + 1, count):
        found.save({"epoch": number, "loss": number / 3}, tensors(number))
        tell("done: saved")


def wrong(path: Path, saved: int) -> list[str]:
    """What is wrong with a directory in which so many saves had ended; each file is checked."""
    faults: list[str] = []
    tidy(RunDirectory(path))
    faults += [f"{left} is left" for left in leftovers(path)]
    found = Checkpoints(RunDirectory(path).checkpoints, "trial", faults.append)
    newest = number_of(found.newest())
    if newest not in {saved - 1 if saved else None, saved}:
        faults.append(f"{saved} were saved, the newest is {newest}")
    save(path, lambda _: None, SAVES + 1)
    if number_of(found.newest()) != SAVES:
        faults.append("no further one can be saved")
    return faults


def store(path: Path) -> RowStore:
    return RowStore(path, "numbers", {"a": 1}, shape=(2, 3), dtype="float32")


def fill(path: Path, tell: Callable[[str], None], keys: str = "1234") -> None:
    """Fill a cache, two rows at a time; each row is the number that its key is."""
    for start in range(0, len(keys), 2):
        one = store(path)
        with one.fill([*keys[start : start + 2]]) as block:
            for index, key in enumerate(block.keys):
                block.write(index, np.full((2, 3), int(key), np.float32))
        tell("done: filled")


def wrong_rows(path: Path) -> list[str]:
    """What is wrong with a cache that was being filled."""
    fill(path, lambda _: None, "12345")
    one = store(path)
    faults = [f"{key} has another row" for key in "12345" if set(row(one, key)) != {int(key)}]
    return faults + [f"{left.name} is left" for left in path.rglob("partial-*")]


def row(one: RowStore, key: str) -> list[float]:
    found: list[float] = one.rows([key]).take().ravel().tolist()
    return found
