"""Trainings that are killed with signal 9 again and again end like undisturbed ones, bit for bit.

`tests/support/killed_trainings.py` trains and kills, once for all tests: a trial with all
techniques at 20 points, each optimizer, folds and mixed precision at a few, and a search with
successive halving.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.support.killed_trainings import HALVING, SINGLE_TRIALS
from veduta.runs.checkpoints import Checkpoint, Checkpoints

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="child processes are forks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("killed")
    module = "tests.support.killed_trainings"
    command = [sys.executable, "-m", module, str(path), *SINGLE_TRIALS, HALVING]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def find_both(folder: Path, subject: str, name: str) -> tuple[Path, Path]:
    """Return the files called `name` of the undisturbed and of the killed training."""
    return folder / subject / "undisturbed" / name, folder / subject / "killed" / name


def read_positions(folder: Path, subject: str) -> list[list[int]]:
    """Return the positions at which a training was killed."""
    lines = find_both(folder, subject, "positions")[1].read_text().splitlines()
    return [json.loads(line) for line in lines]


def drop_times(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the progress of a checkpoint without measured times."""
    progress = json.loads(json.dumps(checkpoint.progress))
    for entry in (*progress["trainings"], *progress["trial"]["epochs"]):
        del entry["seconds"]
    return dict(progress)


@pytest.mark.parametrize("subject", SINGLE_TRIALS)
def test_a_killed_trial_ends_like_an_undisturbed_one(folder: Path, subject: str) -> None:
    """Best and last weights, averages, moments, metrics of every epoch, remaining files."""
    folders = find_both(folder, subject, "checkpoints")
    undisturbed, killed = (Checkpoints(path, "trial").load_newest() for path in folders)
    assert undisturbed is not None
    assert killed is not None
    assert drop_times(killed) == drop_times(undisturbed)
    assert killed.tensors.keys() == undisturbed.tensors.keys()
    for name, tensor in undisturbed.tensors.items():
        assert torch.equal(killed.tensors[name], tensor), name
    metrics = [json.loads(p.read_text()) for p in find_both(folder, subject, "metrics.json")]
    assert metrics[1] == metrics[0]
    (expected,), (actual,) = ([*path.parent.glob("t*.safetensors")] for path in folders)
    assert actual.read_bytes() == expected.read_bytes()
    assert len([*folders[1].iterdir()]) == 1, "the last checkpoint of an ended training remains"


def test_a_trial_was_killed_at_twenty_points_in_and_between_epochs(folder: Path) -> None:
    positions = read_positions(folder, "everything")
    assert len(positions) == 20
    assert {epoch for epoch, _ in positions} == {1, 2, 3}
    assert sum(step > 0 for _, step in positions) >= 10
    for subject, (_, kills) in SINGLE_TRIALS.items():
        assert len(read_positions(folder, subject)) == kills
    folds = read_positions(folder, "folds")
    assert {step for _, step in folds} == {0}, "folds are saved between epochs only"
    assert max(epoch for epoch, _ in folds) > 1


def test_the_trial_with_all_techniques_has_all_kinds_of_state(folder: Path) -> None:
    path, _ = find_both(folder, "everything", "checkpoints")
    checkpoint = Checkpoints(path, "trial").load_newest()
    assert checkpoint is not None
    tensors = checkpoint.tensors
    kinds = {name.split(".")[1] for name in tensors if name.startswith("0.")}
    assert kinds == {"network", "average", "optimizer"}
    best = {name.removeprefix("best.") for name in tensors if name.startswith("best.")}
    assert any(
        not torch.equal(tensors[f"best.{name}"], tensors[f"0.average.{name}"]) for name in best
    ), "the best epoch is not the last one"


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_a_killed_search_has_the_tables_of_an_undisturbed_one(folder: Path, table: str) -> None:
    undisturbed, killed = (
        pd.read_csv(path).drop(columns="seconds")
        for path in find_both(folder, HALVING, f"{table}.csv")
    )
    pd.testing.assert_frame_equal(killed, undisturbed, check_exact=True)


def test_a_search_killed_in_every_round_has_the_same_winner(folder: Path) -> None:
    positions = read_positions(folder, HALVING)
    assert {ended_rounds for (ended_rounds,) in positions} == {0, 1, 2}
    undisturbed, killed = find_both(folder, HALVING, "scores")
    assert {path.name for path in undisturbed.iterdir()} == {path.name for path in killed.iterdir()}
    (weights,) = undisturbed.glob("*.safetensors")
    assert (killed / weights.name).read_bytes() == weights.read_bytes()
    assert load_file(weights)
