"""The command line in a process of its own: exit codes, standard output, standard error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.support.datasets import write_color_folders
from veduta.cli.options import format_flag
from veduta.config.settings import Settings

FAST = ["--image-size", "32", "--epochs", "2", "--engine", "torch"]


def veduta(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "veduta.cli.main", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=os.environ, check=False
    )


@pytest.fixture(scope="module")
def searched(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("cli") / "run"
    done = veduta("search", color_folder, "--grid", "lr=1e-3,1e-2", *FAST, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_search_prints_the_leaderboard_and_the_paths(searched: tuple[Path, str]) -> None:
    out, printed = searched
    assert "best of 2 trials" in printed
    assert printed.splitlines()[-2:] == [
        f"run         {out}",
        f"report      {out}/report.html",
    ]
    assert "evaluated once" in printed


def test_standard_output_contains_only_json(color_folder: Path, tmp_path: Path) -> None:
    done = veduta("train", color_folder, *FAST, "--out", tmp_path / "run", "--json")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert json.loads(done.stdout) == summary
    assert "winner" in done.stderr


def test_preview_draws_images_without_training(color_folder: Path, tmp_path: Path) -> None:
    words = ("--freeze", "none", "--augment", "crop+cutmix", "--image-size", "32", "--preview")
    done = veduta("train", color_folder, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "preview     runs/preview-1/preview.png"
    done = veduta("search", color_folder, *words, "--grid", "lr=1e-3,1e-2", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == {"preview": ["runs/preview-2/preview.png"]}
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["preview-1", "preview-2"]
    assert [path.name for path in tmp_path.glob("runs/*/*")] == ["preview.png"] * 2
    done = veduta("train", "--preview", "--resume", tmp_path / "runs" / "preview-1")
    assert done.returncode == 2
    assert "--resume" in done.stderr


def test_default_directories_are_numbered(color_folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert veduta("train", color_folder, *FAST, cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["train-1", "train-2"]


def test_predict_writes_a_table_and_names_unreadable_files(
    searched: tuple[Path, str], color_folder: Path, tmp_path: Path
) -> None:
    run, _ = searched
    out = tmp_path / "out"
    done = veduta("predict", run, color_folder / "red", "--top-k", "2", "--out", out)
    assert done.returncode == 0
    table = pd.read_csv(out / "predictions.csv")
    assert list(table.columns) == ["path", "label", "probability", "label_2", "probability_2"]
    assert len(table) == 20
    (tmp_path / "broken.png").write_bytes(b"x")
    partly = veduta(
        "predict", run, color_folder / "red", tmp_path / "broken.png", "--out", tmp_path / "partly"
    )
    assert partly.returncode == 3
    assert "broken.png" in partly.stderr
    nothing = veduta("predict", run, tmp_path / "broken.png", "--out", tmp_path / "nothing")
    assert nothing.returncode == 1


def test_lr_find_prints_its_suggestions(color_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    done = veduta("lr-find", color_folder, *FAST, "--batch-size", "8", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert f"steepest    {summary['suggestion']['steepest']:.2g}" in done.stderr
    assert f"tenth       {summary['suggestion']['tenth_of_minimum']:.2g}" in done.stderr
    assert done.stderr.splitlines()[-1] == f"curve       {out}/lr_find.png"
    wrong = veduta("lr-find", color_folder, "--bogus", "3")
    assert wrong.returncode == 2
    assert "bogus" in wrong.stderr


def test_evaluate_writes_its_tables(searched: tuple[Path, str], tmp_path: Path) -> None:
    write_color_folders(tmp_path / "new", 5, seed=3)
    out = tmp_path / "out"
    done = veduta("evaluate", searched[0], tmp_path / "new", "--out", out)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {
        "areas.csv", "confusion.csv", "mistakes.csv", "per_class.csv", "predictions.csv",
        "rejected.csv", "reliability.csv", "risk_coverage.csv", "summary.json", "media",
        "report.html",
    }  # fmt: skip
    assert "95 % interval" in done.stdout


def test_models_lists_all_models() -> None:
    done = veduta("models")
    assert done.returncode == 0
    for word in ("efficientnet_lite0", "4,652,008", "vgg16", "138,357,544", "Apache-2.0"):
        assert word in done.stdout
    assert (
        max(map(len, done.stdout.partition("parameter counts in the report")[0].splitlines()))
        <= 100
    )
    rows = {r["model"]: r for r in json.loads(veduta("models", "--json").stdout)["models"]}
    assert rows["resnet50"]["parameters"] == 25_557_032
    assert rows["resnet50"]["report_parameters"] == 25_636_712
    assert "biases" in rows["resnet50"]["report_counts"]
    assert rows["efficientnet_lite0"]["report_depth"] is None
    assert rows["nasnet_mobile"]["parameters"] is None
    assert "neither timm nor torchvision" in rows["nasnet_mobile"]["note"]


def test_each_fault_is_one_line_and_the_exit_code_is_two(
    color_folder: Path, tmp_path: Path
) -> None:
    done = veduta(
        "search", color_folder, "--lrr", "3", "--epochs", "many", "--grid", "lr", "--out", tmp_path
    )
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("error: ") for line in lines)
    assert "did you mean 'lr'?" in lines[0]


def test_a_misspelled_flag_is_named(color_folder: Path) -> None:
    done = veduta("search", color_folder, "--gird", "lr=1", "-lr", "-1", "--grid", "lr=1e-3")
    assert done.returncode == 2
    assert "did you mean 'grid'?" in done.stderr
    assert "lr must be a number above 0, such as 1e-3; got '-1'" in done.stderr


def test_a_second_folder_is_refused(color_folder: Path) -> None:
    done = veduta("train", color_folder, color_folder)
    assert done.returncode == 2
    assert str(color_folder) in done.stderr


def test_a_failed_trial_makes_the_exit_code_three(color_folder: Path, tmp_path: Path) -> None:
    done = veduta(
        "search", color_folder, "--grid", "lr=1e-3,1e38", "--optimizer", "sgd", *FAST,
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 3
    all_failed = veduta(
        "train",
        color_folder,
        "--lr",
        "1e38",
        "--optimizer",
        "sgd",
        *FAST,
        "--out",
        tmp_path / "none",
    )
    assert all_failed.returncode == 1
    assert "learning rate" in all_failed.stderr


def test_help_names_every_setting() -> None:
    done = veduta("train", "--help")
    words = set(done.stdout.replace(",", " ").split())
    assert {format_flag(name) for name in Settings.model_fields} <= words


def test_every_command_has_help() -> None:
    listed = veduta("--help").stdout
    for name in ("search", "train", "predict", "evaluate", "models", "demo", "cache"):
        assert name in listed
        assert veduta(name, "--help").returncode == 0


def test_explain_prints_the_path_of_the_heat_maps(
    searched: tuple[Path, str], color_folder: Path, tmp_path: Path
) -> None:
    run, _ = searched
    out = tmp_path / "out"
    image = color_folder / "red" / "000.png"
    done = veduta("explain", run, image, "--target", "blue", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "summary.json").read_text())
    assert done.stderr.splitlines()[-1] == f"explanation {out}/explain.png"
