"""Data checks before training: damaged files, and identical images in two places."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image

import veduta
from tests.support.datasets import write_color_folders
from veduta.cli.printing import finish_run
from veduta.results.run import Run
from veduta.runs.scores import load_test_scores
from veduta.runs.summary import read_run_summary
from veduta.tracking.console import Console
from veduta.tracking.text import format_estimate

SMALL: dict[str, Any] = {"image_size": 32, "epochs": 2, "engine": "torch"}


def train(data: Path, out: Path, **settings: Any) -> Run:
    """Train a head for two epochs."""
    return veduta.train(data, out=out, console=Console(quiet=True), **{**SMALL, **settings})


def read_rejected(run: Run) -> list[tuple[str, str, str]]:
    """Return path, problem and action of each row of rejected.csv."""
    table = pd.read_csv(run.directory.rejected, dtype=str)
    return list(table[["path", "problem", "action"]].itertuples(index=False, name=None))


def copy_pixels(source: Path, target: Path) -> None:
    """Write the same pixels to a file with other bytes."""
    Image.open(source).save(target)
    assert source.read_bytes() != target.read_bytes()


def test_damaged_files_are_left_out_and_change_nothing_else(
    tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    data = tmp_path / "data"
    write_color_folders(data, 40)
    damages: tuple[Callable[[bytes], bytes], ...] = (
        lambda content: content[:0],
        lambda content: content[:60],
        lambda content: content[: len(content) // 2],
        lambda content: b"<html>" + content,
        lambda content: bytes(len(content)),
        lambda content: content[:50] + b"\xff" * 30,
    )
    files = sorted(data.rglob("*.png"))
    broken = files[7::20]
    assert len(broken) == 0.05 * len(files)
    for path, damage in zip(broken, damages, strict=True):
        path.write_bytes(damage(path.read_bytes()))
    before = tree(data)
    run = train(data, tmp_path / "run")
    names = [path.relative_to(data).as_posix() for path in broken]
    assert [path for path, _, _ in read_rejected(run)] == names
    assert {action for _, _, action in read_rejected(run)} == {"left out"}
    assert run.summary.data.rejected_files == len(broken)
    assert run.summary.data.split_sizes.total == len(files) - len(broken)
    assert len(veduta.load(run.directory.path).predict([files[0]])) == 1
    assert tree(data) == before


def test_accuracy_is_also_reported_without_contradicting_labels(
    split_folder: Path, tmp_path: Path
) -> None:
    folder = split_folder / "test"
    copy_pixels(folder / "red" / "000.png", folder / "blue" / "000-again.bmp")
    shutil.copy(folder / "green" / "000.png", split_folder / "train" / "red" / "wrong.png")
    run = train(split_folder, tmp_path / "run", epochs=5)
    test, scores = run.summary.test, load_test_scores(run.directory.test_scores)
    assert test.accuracy_without_conflicts is not None
    assert (test.accuracy.images, test.accuracy_without_conflicts.images) == (25, 22)
    conflicting = {"test/red/000.png", "test/blue/000-again.bmp", "test/green/000.png"}
    correct = {
        path: bool(logits.argmax() == y_true)
        for path, logits, y_true in zip(scores.paths, scores.logits, scores.y_true, strict=True)
    }
    others = [is_correct for path, is_correct in correct.items() if path not in conflicting]
    assert test.accuracy.value == pytest.approx(np.mean(list(correct.values())))
    assert test.accuracy_without_conflicts.value == pytest.approx(np.mean(others))
    assert run.summary.data.images_in_two_classes == 2
    page = run.directory.report.read_text(encoding="utf-8")
    assert format_estimate(test.accuracy_without_conflicts) in page
    assert "test/blue/000-again.bmp" not in run.directory.rejected.read_text()
    assert read_rejected(run) == [("train/red/wrong.png", "leak", "train copy dropped")]


def test_strict_turns_an_image_in_two_splits_into_exit_code_3(
    split_folder: Path, tmp_path: Path
) -> None:
    data, out = split_folder, tmp_path / "run"
    shutil.copy(data / "test" / "red" / "000.png", data / "train" / "red" / "copied.png")
    flags = ["--image-size", "32", "--epochs", "2", "--engine", "torch", "--out", str(out)]
    command = [sys.executable, "-m", "veduta.cli.main", "train", str(data), *flags, "--strict"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 3, done.stderr
    assert "1 images are in more than one split" in done.stderr
    assert "--strict" in done.stderr
    summary = read_run_summary(out / "summary.json")
    assert (summary.strict, summary.data.problems["leak"]) == (True, 1)
    assert (out / "model" / "model.safetensors").is_file()


def test_strict_also_holds_for_a_resumed_run_that_had_finished(
    split_folder: Path, tmp_path: Path
) -> None:
    data = split_folder
    shutil.copy(data / "test" / "red" / "000.png", data / "train" / "red" / "copied.png")
    run = train(data, tmp_path / "run")
    assert not run.strict
    console, before = Console(quiet=True), run.directory.journal.read_bytes()
    for strict in (True, False):
        again = veduta.train(resume=run.directory.path, strict=strict, console=console)
        assert again.strict is strict
        with pytest.raises(typer.Exit) if strict else nullcontext():
            finish_run(again, console, as_json=False)
    assert run.directory.journal.read_bytes() == before


def test_a_resumed_run_drops_the_same_copies(split_folder: Path, tmp_path: Path) -> None:
    copied = split_folder / "train" / "red" / "copied.png"
    shutil.copy(split_folder / "test" / "red" / "000.png", copied)
    run = train(split_folder, tmp_path / "run")
    before = run.directory.rejected.read_bytes(), run.directory.splits.read_bytes()
    again = veduta.train(resume=run.directory.path, epochs=3, console=Console(quiet=True))
    assert (again.directory.rejected.read_bytes(), again.directory.splits.read_bytes()) == before
    assert again.summary.data.dropped_images == 1
