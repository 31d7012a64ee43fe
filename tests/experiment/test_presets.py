"""The preset of the report, and successive halving, on the command line and in Python."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import veduta
from tests.support.resuming import CNN_SETTINGS, assert_same_results, cut_run, find_events
from tests.support.runs import QUIET
from veduta.cli.main import app
from veduta.config.presets import read_preset
from veduta.errors import InputError
from veduta.experiment.plan import Plan, make_plan
from veduta.networks.backbones import build_backbone
from veduta.results.run import Run
from veduta.runs.directory import OutputPath
from veduta.runs.events import HalvingRoundFinished, JournalEvent, WinnerSelected
from veduta.runs.summary import read_run_summary

QUICK = ["--image-size", "32", "--epochs", "4", "--weights", "none", "--engine", "torch"]
SMALL = ["--views", "2", "--hidden", "8"]


def test_the_preset_of_the_report_runs_on_the_command_line(
    color_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ["search", str(color_folder), "--preset", "report", "--out", str(out), *QUICK, *SMALL]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "trials      4, 7 epochs at most" in done.output
    summary = read_run_summary(out / "summary.json")
    assert summary.halving is not None
    assert summary.halving.model_dump() == {
        "reduction_factor": 4,
        "rounds": ({"trials": 4, "epochs": 1}, {"trials": 1, "epochs": 4}),
    }
    run = veduta.search(resume=out, console=QUIET)  # nothing is left to do
    assert sorted(run.trials["status"]) == ["finished", "stopped", "stopped", "stopped"]
    assert sorted(run.trials["epochs_trained"]) == [1, 1, 1, 4]
    assert set(run.trials["hidden"]) == {"8"}, "a given setting takes precedence over the preset"
    board = run.leaderboard()
    assert len(board) == 4
    assert board["trial"].iloc[0] == summary.winner.trial
    assert sorted(board["epochs_trained"]) == [1, 1, 1, 4]


def plan_report(data: Path, out: Path, **settings: Any) -> Plan:
    content = read_preset("report")
    grid = content.pop("grid")
    return make_plan(
        data, {**content, **settings}, grid=grid, output=OutputPath(out), command="search"
    )


def test_the_preset_has_the_settings_of_the_report(color_folder: Path, tmp_path: Path) -> None:
    """Section 5: two learning rates, two batch sizes, head (b), 150 pixels."""
    plan = plan_report(color_folder, tmp_path / "run", weights="none")
    assert len(plan.trials) == 4
    assert {trial.settings.hidden for trial in plan.trials} == {(2000,)}
    assert {trial.settings.dropout for trial in plan.trials} == {0.4}
    assert {trial.settings.image_size for trial in plan.trials} == {150}


def test_the_backbone_of_the_report_is_read_from_a_file(color_folder: Path, tmp_path: Path) -> None:
    """VGG-16 with random weights in a file, which the plan checks and the networks load."""
    path = tmp_path / "vgg16.pth"
    torch.manual_seed(0)
    backbone = build_backbone("vgg16", "none", image_size=32, cache=tmp_path)
    state = {n.removeprefix("network."): t for n, t in backbone.state_dict().items() if "." in n}
    torch.save(state, path)
    plan = plan_report(
        color_folder, tmp_path / "run", model="vgg16", weights=str(path), image_size=32
    )
    assert {trial.settings.weights for trial in plan.trials} == {str(path)}
    loaded = build_backbone("vgg16", str(path), image_size=32, cache=tmp_path)
    assert loaded.weights_sha256 == backbone.weights_sha256


def test_a_training_has_no_grid_and_no_halving(color_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the preset report has a grid: call search"):
        veduta.train(color_folder, preset="report", out=tmp_path / "run")
    with pytest.raises(InputError, match=r"halving.*train has one.*halving=2"):
        veduta.train(color_folder, halving=2, out=tmp_path / "run")
    with pytest.raises(InputError, match="'raport'; did you mean 'report'"):
        veduta.search(color_folder, preset="raport", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def halved(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished search with halving. Not to be changed by a test."""
    out = tmp_path_factory.mktemp("runs") / "halved"
    common = {name: value for name, value in CNN_SETTINGS.items() if name != "lr"}
    common |= {"epochs": 4, "schedule": "cosine", "console": QUIET, "halving": 2}
    grid = {"lr": [1e-4, 1e-3, 1e-2, 1e-1]}
    return veduta.search(color_folder, grid=grid, out=out, **common)


@pytest.mark.parametrize("kind", [HalvingRoundFinished, WinnerSelected])
def test_a_resumed_search_with_halving_promotes_the_same_trials(
    halved: Run, tmp_path: Path, kind: type[JournalEvent]
) -> None:
    path = Path(shutil.copytree(halved.directory.path, tmp_path / "run"))
    cut_run(path, kind)
    shutil.rmtree(path / "checkpoints")  # the promoted trials are in the journal
    run = veduta.search(resume=path, console=QUIET)
    assert_same_results(run, halved)
    assert [event.promoted for event in find_events(run, HalvingRoundFinished)] == [
        event.promoted for event in find_events(halved, HalvingRoundFinished)
    ]


def test_no_trials_can_be_added_to_a_search_with_halving(halved: Run, tmp_path: Path) -> None:
    path = Path(shutil.copytree(halved.directory.path, tmp_path / "run"))
    with pytest.raises(InputError, match=r"halving.*--grid for lr"):
        veduta.search(resume=path, grid={"lr": [1.0]}, console=QUIET)
    with pytest.raises(InputError, match="halving was 2, now it is 3"):
        veduta.search(resume=path, halving=3, console=QUIET)
    checkpoints = {file.name.partition(".")[0] for file in (path / "checkpoints").iterdir()}
    assert checkpoints == {halved.summary.winner.trial}
