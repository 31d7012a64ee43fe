"""A wall clock that jumps: durations and order of events do not depend on it."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import veduta
from tests.support.resuming import (
    HEAD_SETTINGS,
    cut_journal,
    has_events,
    read_untimed,
    resume_search,
)
from tests.support.runs import QUIET
from veduta.results.run import Run
from veduta.runs.events import EpochFinished, TrialEnded, TrialFinished
from veduta.runs.journal import read_journal

DAY = 86_400.0
JUMPS = (0.0, -DAY, DAY, -3600.0, 3600.0, -1.7e9, -2e9, 2**31 - 1.7e9, 2e9)
GRID = {"lr": [3e-3, 1e-2], "batch_size": [8, 16]}


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A wall clock that jumps at each reading, also to 1906 and 2089; returns their number."""
    real, jumps, count = time.time, itertools.cycle(JUMPS), itertools.count()

    def now() -> float:
        next(count)
        return real() + next(jumps)

    monkeypatch.setattr(time, "time", now)
    return lambda: next(count)


def test_a_clock_that_jumps_does_not_change_results(
    color_folder: Path,
    tmp_path: Path,
    jumping_clock: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    common: dict[str, Any] = {**HEAD_SETTINGS, "epochs": 3, "console": QUIET}
    run = veduta.search(color_folder, grid=GRID, out=tmp_path / "run", **common)
    times = [
        event.time
        for event in read_journal(run.directory.journal)
        if isinstance(event, (EpochFinished, TrialEnded))
    ]
    assert times != sorted(times)
    assert min(times) < 0, "before 1970"
    assert jumping_clock() >= len(times)
    assert (run.epochs["seconds"] >= 0).all()
    assert (run.trials["seconds"] >= 0).all()
    assert all(seconds >= 0 for seconds in run.summary.seconds.model_dump().values())
    assert len(list(run.directory.tensorboard.glob("*/*"))) == len(run.trials)
    cut_journal(run.directory.path, has_events(TrialFinished, 2))
    resumed = resume_search(run.directory.path)
    assert veduta.rebuild(resumed.directory.path).created == []
    monkeypatch.undo()
    reference: Run = veduta.search(color_folder, grid=GRID, out=tmp_path / "reference", **common)
    for name in ("trials", "epochs"):
        assert read_untimed(getattr(resumed.directory, name)) == read_untimed(
            getattr(reference.directory, name)
        )
