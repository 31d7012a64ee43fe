"""Trainings that are killed with signal 9, again and again, come to the bits of one that is not.

`killed.py` does it, once for all tests here: the everything-at-once trial at 20 points, each
optimiser, folds and mixed precision at a few, and a search by halving.
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

from tests.tuning.killed import ALONE
from veduta.runs.checkpoints import Checkpoint, Checkpoints

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.tuning.killed", str(path), *ALONE, "halving"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def both(folder: Path, subject: str, name: str) -> list[Path]:
    return [folder / subject / kind / name for kind in ("whole", "killed")]


def points(folder: Path, subject: str) -> list[list[int]]:
    lines = both(folder, subject, "points")[1].read_text().splitlines()
    return [json.loads(line) for line in lines]


def untimed(checkpoint: Checkpoint) -> dict[str, Any]:
    progress = json.loads(json.dumps(checkpoint.progress))
    for timed in (*progress["trainings"], *progress["course"]["epochs"]):
        del timed["seconds"]
    return dict(progress)


@pytest.mark.parametrize("subject", ALONE)
def test_a3_all_of_a_training_is_as_if_it_had_not_been_killed(folder: Path, subject: str) -> None:
    """The best weights and the last, averages, moments, figures of every epoch, what is kept."""
    places = both(folder, subject, "checkpoints")
    whole, killed = (Checkpoints(place, "trial").newest() for place in places)
    assert whole is not None
    assert killed is not None
    assert untimed(killed) == untimed(whole)
    assert killed.tensors.keys() == whole.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert torch.equal(killed.tensors[name], tensor), name
    figures = [json.loads(path.read_text()) for path in both(folder, subject, "figures.json")]
    assert figures[1] == figures[0]
    (mine,), (theirs,) = ([*place.parent.glob("t*.safetensors")] for place in places)
    assert mine.read_bytes() == theirs.read_bytes()
    assert len([*places[1].iterdir()]) == 1, "of a training that has ended the last one is kept"


def test_a3_it_was_killed_at_twenty_points_in_every_epoch_and_inside_of_them(folder: Path) -> None:
    found = points(folder, "everything")
    assert len(found) == 20
    assert {epoch for epoch, _ in found} == {1, 2, 3}
    assert sum(step > 0 for _, step in found) >= 10
    assert all(len(points(folder, subject)) == kills for subject, (_, kills) in ALONE.items())
    assert {step for _, step in points(folder, "folds")} == {0}, "folds go on between epochs alone"
    assert max(epoch for epoch, _ in points(folder, "folds")) > 1


def test_everything_was_on(folder: Path) -> None:
    found = Checkpoints(both(folder, "everything", "checkpoints")[0], "trial").newest()
    assert found is not None
    kinds = {name.split(".")[1] for name in found.tensors if name.startswith("0.")}
    assert kinds == {"network", "average", "optimizer"}
    best = {name for name in found.tensors if name.startswith("best.")}
    assert any(
        not torch.equal(found.tensors[name], found.tensors[f"0.average.{name[5:]}"])
        for name in best
    ), "the best epoch is not the last, so that they can be told apart"


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_a3_a_search_by_halving_has_the_tables_of_one_that_was_not_killed(
    folder: Path, table: str
) -> None:
    whole, killed = (pd.read_csv(path) for path in both(folder, "halving", f"{table}.csv"))
    pd.testing.assert_frame_equal(
        killed.drop(columns="seconds"), whole.drop(columns="seconds"), check_exact=True
    )


def test_a3_a_search_was_killed_in_every_round_and_has_the_same_winner(folder: Path) -> None:
    found = points(folder, "halving")
    assert {decided for (decided,) in found} == {0, 1, 2}
    whole, killed = both(folder, "halving", "scores")
    assert {path.name for path in whole.iterdir()} == {path.name for path in killed.iterdir()}
    (weights,) = whole.glob("*.safetensors")
    assert (killed / weights.name).read_bytes() == weights.read_bytes()
    assert load_file(weights)
