"""Work that only saves checkpoints or fills a cache, and checks of what a fault leaves."""

from pathlib import Path

import numpy as np

from tests.faults.forks import Report
from tests.faults.small_search import list_leftovers
from tests.support.checkpoints import check_epoch, make_tensors
from veduta.data.row_store import RowStore
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory, remove_temporary_files

SAVES = 4


def save_checkpoints(path: Path, report: Report, count: int = SAVES) -> None:
    """Save checkpoints up to this number, and report each."""
    checkpoints = Checkpoints(RunDirectory(path).checkpoints, "trial")
    newest = check_epoch(checkpoints.load_newest())
    for number in range(0 if newest is None else newest + 1, count):
        checkpoints.save({"epoch": number, "loss": number / 3}, make_tensors(number))
        report("done: saved")


def find_checkpoint_faults(path: Path, saved: int) -> list[str]:
    """Return the faults of a directory in which this number of saves had ended."""
    faults: list[str] = []
    remove_temporary_files(RunDirectory(path))
    faults += [f"{name} remains" for name in list_leftovers(path)]
    checkpoints = Checkpoints(RunDirectory(path).checkpoints, "trial", faults.append)
    newest = check_epoch(checkpoints.load_newest())
    if newest not in {saved - 1 if saved else None, saved}:
        faults.append(f"{saved} were saved, the newest is {newest}")
    save_checkpoints(path, lambda _: None, SAVES + 1)
    if check_epoch(checkpoints.load_newest()) != SAVES:
        faults.append("no further checkpoint can be saved")
    return faults


def open_store(path: Path) -> RowStore:
    """Open a cache of small rows."""
    return RowStore(path, "numbers", {"a": 1}, shape=(2, 3), dtype="float32")


def fill_cache(path: Path, report: Report, keys: str = "1234") -> None:
    """Fill a cache, two rows at a time; the values of a row are its key as a number."""
    for start in range(0, len(keys), 2):
        with open_store(path).fill([*keys[start : start + 2]]) as block:
            for index, key in enumerate(block.keys):
                block.write(index, np.full((2, 3), int(key), np.float32))
        report("done: filled")


def find_cache_faults(path: Path) -> list[str]:
    """Return the faults of a cache whose filling was interrupted."""
    fill_cache(path, lambda _: None, "12345")
    store = open_store(path)
    faults = [
        f"{key} has another row"
        for key in "12345"
        if set(store.load_rows([key]).take().ravel().tolist()) != {int(key)}
    ]
    return faults + [f"{remaining.name} remains" for remaining in path.rglob("partial-*")]
