"""`lr-find` from a folder to its files: training images alone, files and their content, errors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import veduta
from veduta.config.settings import Settings
from veduta.diagnostics import lr_range
from veduta.errors import InputError
from veduta.networks.heads import HeadNetwork
from veduta.runs.summary import read_summary
from veduta.runs.test_set import TestSet
from veduta.tracking.console import Console
from veduta.training.examples import Examples
from veduta.training.range_test import RangeStep

SETTINGS: dict[str, Any] = {"image_size": 32, "engine": "torch", "console": Console(quiet=True)}


def test_range_test_writes_table_figure_and_configuration(
    color_folder: Path, tmp_path: Path
) -> None:
    result = veduta.lr_find(
        color_folder, out=tmp_path / "out", optimizer="sgd", batch_size=8, **SETTINGS
    )
    assert {path.name for path in result.directory.iterdir()} == {
        "config.yaml", "lr_find.csv", "lr_find.png", "lr_find.svg", "rejected.csv", "splits.csv",
        "summary.json",
    }  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv(result.directory / "lr_find.csv"), result.rates)
    assert list(result.rates) == ["step", "lr", "loss", "smoothed_loss"]
    ratios = np.diff(np.log(result.rates["lr"]))
    assert ratios == pytest.approx(np.full(len(ratios), ratios[0]))
    assert result.suggestion is not None  # colors are easy to learn
    assert 1e-6 < result.suggestion.steepest < 10
    assert read_summary(result.directory / "summary.json") == result.summary
    content = json.loads((result.directory / "summary.json").read_text())
    assert content["suggestion"]["steepest"] == result.suggestion.steepest
    assert content["steps"] == len(result.rates)
    assert yaml.safe_load((result.directory / "config.yaml").read_text())["optimizer"] == "sgd"
    assert (result.directory / "lr_find.png").read_bytes().startswith(b"\x89PNG")
    assert "learning rate" in (result.directory / "lr_find.svg").read_text()


def test_only_training_images_are_used(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Examples] = []
    run_range_test = lr_range.run_range_test  # type: ignore[attr-defined]

    def record_examples(
        network: HeadNetwork, examples: Examples, settings: Settings
    ) -> Iterator[RangeStep]:
        used.append(examples)
        return run_range_test(network, examples, settings)

    def fail(_: TestSet) -> list[str]:
        raise AssertionError("the test labels must not be revealed")

    monkeypatch.setattr(lr_range, "run_range_test", record_examples)
    monkeypatch.setattr(TestSet, "reveal_labels", fail)
    result = veduta.lr_find(color_folder, out=tmp_path / "out", **SETTINGS)
    splits = pd.read_csv(result.directory / "splits.csv")
    train_images = int((splits["split"] == "train").sum())
    assert result.images == len(used[0]) == train_images < len(splits)


def test_the_same_command_writes_the_same_bytes(color_folder: Path, tmp_path: Path) -> None:
    first, second = (
        veduta.lr_find(color_folder, out=tmp_path / name, **SETTINGS).directory for name in "ab"
    )
    for name in ("lr_find.csv", "lr_find.svg", "lr_find.png", "summary.json", "splits.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_all_errors_are_reported_and_nothing_is_written(color_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        veduta.lr_find(
            color_folder, out=tmp_path / "out", optimizer="adem", grid={"lr": [1]}, **SETTINGS
        )
    assert len(caught.value.faults) == 2
    assert not (tmp_path / "out").exists()
