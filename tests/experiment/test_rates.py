"""`lr-find`, from a folder to its files: what it trains on, what it leaves alone, what it says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import veduta
from veduta.diagnostics import lr_range as rates
from veduta.errors import InputError
from veduta.runs.test_set import SealedTest
from veduta.tracking.console import Console
from veduta.training.state import Examples

QUIET: dict[str, Any] = {"image_size": 32, "engine": "torch", "console": Console(quiet=True)}


def test_it_writes_its_table_its_figure_and_what_it_stands_on(
    colours: Path, tmp_path: Path
) -> None:
    found = veduta.lr_find(colours, out=tmp_path / "found", optimizer="sgd", batch_size=8, **QUIET)
    assert {path.name for path in found.directory.iterdir()} == {
        "config.yaml", "lr_find.csv", "lr_find.png", "lr_find.svg", "rejected.csv", "splits.csv",
        "summary.json",
    }  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv(found.directory / "lr_find.csv"), found.rates)
    assert list(found.rates) == ["step", "lr", "loss", "smoothed_loss"]
    ratios = np.diff(np.log(found.rates["lr"]))
    assert ratios == pytest.approx(np.full(len(ratios), ratios[0]))
    assert found.suggestion is not None  # colours are easy to tell apart
    assert 1e-6 < found.suggestion.steepest < 10
    summary = json.loads((found.directory / "summary.json").read_text())
    assert summary == found.summary
    assert summary["suggestion"]["tenth"] == found.suggestion.tenth
    assert yaml.safe_load((found.directory / "config.yaml").read_text())["optimizer"] == "sgd"
    assert (found.directory / "lr_find.png").read_bytes().startswith(b"\x89PNG")
    assert "learning rate" in (found.directory / "lr_find.svg").read_text()


def test_it_sees_training_images_alone(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Examples] = []
    real = rates.range_test

    def spied(network: Any, train: Examples, settings: Any) -> Any:
        seen.append(train)
        return real(network, train, settings)

    def never(*_: Any) -> None:
        raise AssertionError("the test stays sealed")

    monkeypatch.setattr(rates, "range_test", spied)
    monkeypatch.setattr(SealedTest, "open", never)
    found = veduta.lr_find(colours, out=tmp_path / "found", **QUIET)
    splits = pd.read_csv(found.directory / "splits.csv")
    trains = int((splits["split"] == "train").sum())
    assert found.images == len(seen[0]) == trains < len(splits)


def test_the_same_command_gives_the_same_bytes(colours: Path, tmp_path: Path) -> None:
    one, other = (veduta.lr_find(colours, out=tmp_path / name, **QUIET).directory for name in "ab")
    for name in ("lr_find.csv", "lr_find.svg", "lr_find.png", "summary.json", "splits.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_all_faults_at_once_and_nothing_is_written(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        veduta.lr_find(colours, out=tmp_path / "found", optimizer="adem", grid={"lr": [1]}, **QUIET)
    assert len(caught.value.faults) == 2
    assert not (tmp_path / "found").exists()
