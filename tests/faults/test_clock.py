"""A clock that jumps: durations come from another one, and order from the journal."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import veduta
from tests.experiment.test_resume import QUIET, SMALL, cut, last, resume
from tests.experiment.test_run import untimed
from veduta.results.run import Run
from veduta.runs.journal import read_journal

DAY = 86_400.0
JUMPS = (0.0, -DAY, DAY, -3600.0, 3600.0, -1.7e9, -2e9, 2**31 - 1.7e9, 2e9)
GRID = {"lr": [3e-3, 1e-2], "batch_size": [8, 16]}


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A wall clock that jumps each time it is read, to 1906 and 2089 too; how often it was."""
    real, jumps, count = time.time, itertools.cycle(JUMPS), itertools.count()

    def now() -> float:
        next(count)
        return real() + next(jumps)

    monkeypatch.setattr(time, "time", now)
    return lambda: next(count)


def test_b8_a_clock_that_jumps_changes_no_figure(
    colours: Path, tmp_path: Path, jumping: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {**SMALL, "epochs": 3, "console": QUIET}
    run = veduta.search(colours, grid=GRID, out=tmp_path / "run", **common)
    times = [e["time"] for e in read_journal(run.directory.journal) if "time" in e]
    assert times != sorted(times)
    assert min(times) < 0, "before 1970"
    assert jumping() >= len(times)
    assert (run.epochs["seconds"] >= 0).all()
    assert (run.trials["seconds"] >= 0).all()
    assert all(seconds >= 0 for seconds in run.summary["seconds"].values())
    assert len(list(run.directory.tensorboard.glob("*/*"))) == len(run.trials)
    cut(run.directory.path, last("trial finished", 2))
    again = resume(run.directory.path)
    assert veduta.rebuild(again.directory.path).made == []
    monkeypatch.undo()
    calm: Run = veduta.search(colours, grid=GRID, out=tmp_path / "calm", **common)
    for name in ("trials", "epochs"):
        assert untimed(getattr(again.directory, name)) == untimed(getattr(calm.directory, name))
