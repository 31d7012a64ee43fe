"""The command `veduta search`, killed fifty times, comes to what it comes to when left alone."""

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
    path = tmp_path_factory.mktemp("fifty")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.repeated_kills", str(path)],
        check=False, capture_output=True, text=True, timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


def test_it_was_killed_fifty_times_each_after_new_lines_of_its_journal(folder: Path) -> None:
    kills = json.loads((folder / "result.json").read_text())["kills"]
    assert len(kills) == KILLS
    assert all(earlier < later for earlier, later in pairwise([0, *kills]))


def test_the_model_of_a_search_killed_fifty_times_is_the_same(folder: Path) -> None:
    alone, killed = json.loads((folder / "result.json").read_text())["models"]
    assert killed == alone


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_the_tables_of_a_search_killed_fifty_times_are_the_same(folder: Path, table: str) -> None:
    alone, killed = (
        pd.read_csv(folder / name / f"{table}.csv", dtype=str).drop(columns="seconds").to_csv()
        for name in ("alone", "killed")
    )
    assert killed == alone
