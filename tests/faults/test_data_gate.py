"""Rows of the fault table that the gate decides: damaged files, images that stand twice."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image

import veduta
from tests.conftest import paint
from veduta.cli.printing import finish_run
from veduta.results.run import Run
from veduta.tracking.console import Console

SMALL = {"image_size": 32, "epochs": 2, "engine": "torch"}


def train(data: Path, out: Path, **more: object) -> Run:
    return veduta.train(data, out=out, console=Console(quiet=True), **{**SMALL, **more})


def rejected(run: Run) -> list[tuple[str, str, str]]:
    """Path, problem and action of each line of rejected.csv."""
    table = pd.read_csv(run.directory.rejected, dtype=str)
    return list(table[["path", "problem", "action"]].itertuples(index=False, name=None))


def written_anew(source: Path, target: Path) -> None:
    """The same pixels in a file of other bytes."""
    Image.open(source).save(target)
    assert source.read_bytes() != target.read_bytes()


def test_d_five_percent_damaged_files_cost_nothing_but_themselves(
    tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    data = tmp_path / "data"
    paint(data, 40)
    damages = (
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
    assert [path for path, _, _ in rejected(run)] == names
    assert {action for _, _, action in rejected(run)} == {"left out"}
    assert run.summary["rejected"] == len(broken)
    assert sum(run.summary["images"].values()) == len(files) - len(broken)
    assert len(veduta.load(run.directory.path).predict([files[0]])) == 1
    assert tree(data) == before


def test_e3_contradicting_labels_are_scored_with_and_without(
    split_colours: Path, tmp_path: Path
) -> None:
    test = split_colours / "test"
    written_anew(test / "red" / "000.png", test / "blue" / "000-again.bmp")  # in the test itself
    shutil.copy(test / "green" / "000.png", split_colours / "train" / "red" / "wrong.png")
    run = train(split_colours, tmp_path / "run", epochs=5)
    found, kept = run.summary["test"], np.load(run.directory.test)
    assert (found["images"], found["without_conflicts"]["images"]) == (25, 22)
    apart = {"test/red/000.png", "test/blue/000-again.bmp", "test/green/000.png"}
    hits = {
        str(name): bool(logits.argmax() == truth)
        for name, logits, truth in zip(kept["paths"], kept["logits"], kept["truth"], strict=True)
    }
    others = [hit for name, hit in hits.items() if name not in apart]
    assert found["accuracy"] == pytest.approx(np.mean(list(hits.values())))
    assert found["without_conflicts"]["accuracy"] == pytest.approx(np.mean(others))
    assert run.summary["in_two_classes"] == 2
    page = run.directory.report.read_text(encoding="utf-8")
    assert "Without the images of which an identical one has another label it is" in page
    assert "test/blue/000-again.bmp" not in run.directory.rejected.read_text()
    assert rejected(run) == [("train/red/wrong.png", "leak", "train copy dropped")]


def test_e3_strict_makes_a_leak_an_exit_code(split_colours: Path, tmp_path: Path) -> None:
    data, out = split_colours, tmp_path / "run"
    shutil.copy(data / "test" / "red" / "000.png", data / "train" / "red" / "copied.png")
    flags = ["--image-size", "32", "--epochs", "2", "--engine", "torch", "--out", str(out)]
    command = [sys.executable, "-m", "veduta.cli.main", "train", str(data), *flags, "--strict"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 3, done.stderr
    assert "1 images came in more than one split" in done.stderr
    assert "--strict" in done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["strict"], summary["findings"]["leak"]) == (True, 1)
    assert (out / "model" / "model.safetensors").is_file()


def test_e3_strict_counts_where_a_resumed_run_has_nothing_to_do(
    split_colours: Path, tmp_path: Path
) -> None:
    data = split_colours
    shutil.copy(data / "test" / "red" / "000.png", data / "train" / "red" / "copied.png")
    run = train(data, tmp_path / "run")
    assert not run.strict
    console, before = Console(quiet=True), run.directory.journal.read_bytes()
    for asked in (True, False):
        again = veduta.train(resume=run.directory.path, strict=asked, console=console)
        assert again.strict is asked
        with pytest.raises(typer.Exit) if asked else nullcontext():
            finish_run(again, console, as_json=False)
    assert run.directory.journal.read_bytes() == before


def test_e3_a_resumed_run_drops_the_same_copies(split_colours: Path, tmp_path: Path) -> None:
    copied = split_colours / "train" / "red" / "copied.png"
    shutil.copy(split_colours / "test" / "red" / "000.png", copied)
    run = train(split_colours, tmp_path / "run")
    before = run.directory.rejected.read_bytes(), run.directory.splits.read_bytes()
    again = veduta.train(resume=run.directory.path, epochs=3, console=Console(quiet=True))
    assert (again.directory.rejected.read_bytes(), again.directory.splits.read_bytes()) == before
    assert again.summary["dropped"] == 1
