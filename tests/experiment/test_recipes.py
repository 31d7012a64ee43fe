"""The recipe of the report, and halving, as runs of the command line and of Python."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import veduta
from tests.experiment.test_whole import CNN, QUIET, cut, events, expect_same
from veduta.cli.main import app
from veduta.config.presets import read_recipe
from veduta.errors import InputError
from veduta.experiment.plan import Plan, make_plan
from veduta.networks.backbones import build_backbone
from veduta.runs.directory import Place

QUICK = ["--image-size", "32", "--epochs", "4", "--weights", "none", "--engine", "torch"]
SMALL = ["--views", "2", "--hidden", "8"]


def test_the_report_runs_from_the_command_line(colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["search", str(colours), "--recipe", "report", "--out", str(out), *QUICK, *SMALL]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "trials      4, 7 epochs at most" in done.output
    assert "halving     1 of 4 trials went on from epoch 1 to 4" in done.output
    summary = json.loads((out / "summary.json").read_text())
    assert summary["halving"] == {
        "factor": 4, "rounds": [{"trials": 4, "epochs": 1}, {"trials": 1, "epochs": 4}]
    }  # fmt: skip
    run = veduta.search(resume=out, console=QUIET)  # nothing is left to do
    assert sorted(run.trials["status"]) == ["finished", "stopped", "stopped", "stopped"]
    assert sorted(run.trials["epochs_trained"]) == [1, 1, 1, 4]
    assert set(run.trials["hidden"]) == {"8"}, "what is given comes before the recipe's head"
    board = run.leaderboard()
    assert len(board) == 4
    assert board["trial"].iloc[0] == summary["winner"]["trial"]
    assert sorted(board["epochs_trained"]) == [1, 1, 1, 4]


def plan(data: Path, place: Path, **more: Any) -> Plan:
    content = read_recipe("report")
    grid = content.pop("grid")
    return make_plan(data, {**content, **more}, grid=grid, place=Place(place), command="search")


def test_the_recipe_is_that_of_the_report(colours: Path, tmp_path: Path) -> None:
    """Section 5: two rates, two batch sizes, head (b), 150 px; the grid (41) at a quarter."""
    found = plan(colours, tmp_path / "run", weights="none")
    assert len(found.trials) == 4
    assert {trial.settings.hidden for trial in found.trials} == {(2000,)}
    assert {trial.settings.dropout for trial in found.trials} == {0.4}
    assert {trial.settings.image_size for trial in found.trials} == {150}


def test_the_backbone_of_the_report_comes_from_a_file(colours: Path, tmp_path: Path) -> None:
    """VGG-16, random weights in a file: seen by the plan, and by the networks of the run."""
    path = tmp_path / "vgg16.pth"
    torch.manual_seed(0)
    whole = build_backbone("vgg16", "none", image_size=32, cache=tmp_path)
    state = {n.removeprefix("network."): t for n, t in whole.state_dict().items() if "." in n}
    torch.save(state, path)
    found = plan(colours, tmp_path / "run", model="vgg16", weights=str(path), image_size=32)
    assert {trial.settings.weights for trial in found.trials} == {str(path)}
    again = build_backbone("vgg16", str(path), image_size=32, cache=tmp_path)
    assert again.weights_sha256 == whole.weights_sha256


def test_a_training_takes_no_grid_and_no_halving(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the recipe report has a grid: call search"):
        veduta.train(colours, recipe="report", out=tmp_path / "run")
    with pytest.raises(InputError, match="halving chooses among trials, and train has one"):
        veduta.train(colours, halving=2, out=tmp_path / "run")
    with pytest.raises(InputError, match="no recipe is called 'raport'; did you mean 'report'"):
        veduta.search(colours, recipe="raport", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def halved(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> veduta.results.run.Run:
    out = tmp_path_factory.mktemp("runs") / "halved"
    common = {name: value for name, value in CNN.items() if name != "lr"}
    grid = {"lr": [1e-4, 1e-3, 1e-2, 1e-1]}
    common |= {"epochs": 4, "schedule": "cosine", "console": QUIET, "halving": 2}
    return veduta.search(colours, grid=grid, out=out, **common)


@pytest.mark.parametrize("kind", ["rung", "selected"])
def test_a_search_by_halving_goes_on_as_it_had_decided(
    halved: veduta.results.run.Run, tmp_path: Path, kind: str
) -> None:
    path = Path(shutil.copytree(halved.directory.path, tmp_path / "run"))
    cut(path, kind)
    shutil.rmtree(path / "checkpoints")  # the decision is in the journal
    run = veduta.search(resume=path, console=QUIET)
    expect_same(run, halved)
    assert [e["promoted"] for e in events(run, "rung")] == [
        e["promoted"] for e in events(halved, "rung")
    ]


def test_a_search_by_halving_takes_no_more_trials(
    halved: veduta.results.run.Run, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(halved.directory.path, tmp_path / "run"))
    with pytest.raises(InputError, match="takes no more trials, for it has chosen"):
        veduta.search(resume=path, grid={"lr": [1.0]}, console=QUIET)
    with pytest.raises(InputError, match="halving was 2, now it is 3"):
        veduta.search(resume=path, halving=3, console=QUIET)
    kept = {one.name.partition(".")[0] for one in (path / "checkpoints").iterdir()}
    assert kept == {halved.summary["winner"]["trial"]}
