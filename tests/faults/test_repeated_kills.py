"""The command `veduta search`, killed fifty times, gives the results of a search without kills."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.repeated_kills import KILLS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of both searches."""
    path = tmp_path_factory.mktemp("repeated_kills")
    process = subprocess.run(
        [sys.executable, "-m", "tests.faults.repeated_kills", str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    return path


def test_the_search_was_killed_fifty_times_after_progress(folder: Path) -> None:
    line_counts = json.loads((folder / "result.json").read_text())["lines"]
    assert len(line_counts) == KILLS
    assert all(earlier < later for earlier, later in pairwise([0, *line_counts]))


def test_the_model_does_not_depend_on_kills(folder: Path) -> None:
    whole, killed = json.loads((folder / "result.json").read_text())["models"]
    assert killed == whole


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_the_tables_do_not_depend_on_kills(folder: Path, table: str) -> None:
    whole, killed = (
        pd.read_csv(folder / name / f"{table}.csv", dtype=str).drop(columns="seconds").to_csv()
        for name in ("whole", "killed")
    )
    assert killed == whole
