"""Searches over `freeze`: frozen stages run once per image, and the model is complete."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import veduta
from tests.support.models import compute_test_log_probabilities
from tests.support.resuming import find_events
from tests.support.runs import QUIET
from veduta.errors import InputError
from veduta.features import engines
from veduta.networks.freezing import Prefix
from veduta.runs.events import TilesPlanned
from veduta.runs.scores import load_test_scores
from veduta.tracking.console import Console

SETTINGS: dict[str, Any] = {
    "image_size": 32,
    "epochs": 2,
    "batch_size": 8,
    "engine": "torch",
    "console": QUIET,
}


def test_a_search_may_have_whole_and_partly_frozen_backbones(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "cache"))
    counts = {"whole": 0, "prefix": 0}
    write_features = engines.TorchEngine.write_features

    def count_images(self: engines.TorchEngine, *arguments: Any) -> None:
        counts["prefix" if isinstance(self._backbone, Prefix) else "whole"] += len(arguments[0])
        write_features(self, *arguments)

    monkeypatch.setattr(engines.TorchEngine, "write_features", count_images)
    grid = {"freeze": ["all", 7], "lr": [1e-4, 1e-2]}
    run = veduta.search(color_folder, grid=grid, out=tmp_path / "run", **SETTINGS)
    assert counts["prefix"] in {48, 60}  # 48 train and validate; 12 test if it won
    assert counts["whole"] in {48, 60}
    assert sum(counts.values()) == 108
    assert list(run.trials["status"]) == ["finished"] * 4
    assert {str(value) for value in run.trials["freeze"]} == {"7", "all"}
    tiles = [event.tiles for event in find_events(run, TilesPlanned)]
    assert sorted([len(tile) for tile in group] for group in tiles) == [[1, 1], [2]]
    again = veduta.search(color_folder, grid=grid, out=tmp_path / "again", **SETTINGS)
    assert run.trials.drop(columns="seconds").equals(again.trials.drop(columns="seconds"))
    for name in ("model/model.safetensors", "scores/test.npz"):
        first, second = (tmp_path / folder / name for folder in ("run", "again"))
        assert first.read_bytes() == second.read_bytes(), name


@pytest.mark.parametrize("refit", [False, True])
def test_the_model_predicts_the_scores_of_the_search(
    color_folder: Path, tmp_path: Path, *, refit: bool
) -> None:
    path = tmp_path / "run"
    run = veduta.train(color_folder, out=path, freeze=6, lr=3e-3, refit=refit, **SETTINGS)
    log_probabilities = compute_test_log_probabilities(path, color_folder)
    scores = load_test_scores(run.directory.test_scores)
    expected = torch.from_numpy(scores.logits).double().log_softmax(1).numpy()
    assert np.abs(log_probabilities - expected).max() < 1e-4
    assert (log_probabilities.argmax(1) == expected.argmax(1)).all()
    manifest = json.loads((path / "model" / "model.json").read_text())
    assert manifest["settings"]["freeze"] == 6
    assert manifest["weights"].endswith("; stages after the first 6 trained")
    tensors = load_file(path / "model" / "model.safetensors")
    assert {name.split(".", 1)[0] for name in tensors} == {"backbone", "head"}


def test_frozen_stages_keep_the_published_weights(color_folder: Path, tmp_path: Path) -> None:
    for name, freeze in (("all", "all"), ("six", 6)):
        veduta.train(color_folder, out=tmp_path / name, freeze=freeze, **SETTINGS)
    whole, six = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("all", "six")
    )
    assert whole.keys() == six.keys()
    changed = {n for n, t in six.items() if n.startswith("backbone.") and not t.equal(whole[n])}
    layers = {name.removeprefix("backbone.network.") for name in changed}
    assert {name.split(".")[0] for name in layers} == {"blocks", "conv_head", "bn2"}
    assert {name.split(".")[1] for name in layers if name.startswith("blocks")} == {"5", "6"}


def test_freeze_works_with_folds_and_views(color_folder: Path, tmp_path: Path) -> None:
    run = veduta.train(color_folder, out=tmp_path / "run", freeze=7, folds=2, views=1, **SETTINGS)
    assert run.summary.validation_accuracy.images in {48, 51}


def test_every_error_is_found_before_the_run_starts(color_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        veduta.search(color_folder, grid={"freeze": [9, 12]}, out=tmp_path / "run", **SETTINGS)
    assert len(caught.value.faults) == 2
    assert "9 stages of efficientnet_lite0" in caught.value.faults[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("freeze", ["none", 3])
def test_trials_with_other_mixing_augmentations_train_on_other_images(
    color_folder: Path, tmp_path: Path, freeze: str | int
) -> None:
    settings: dict[str, Any] = {
        **SETTINGS,
        "freeze": freeze,
        "weights": "none",
        "lr": 1e-4,
        "epochs": 1,
    }
    settings |= {} if freeze == "none" else {"views": 1}  # all trials have the same views
    grid = {"augment": ["crop", "crop+mixup", "crop+cutmix"], "clip": [1e3, 1e4]}
    table = veduta.search(color_folder, grid=grid, out=tmp_path / "run", **settings).trials
    assert (table.groupby("augment")["train_loss"].nunique() == 1).all()
    assert table["train_loss"].nunique() == 3


def test_cutmix_on_maps_of_one_position_is_warned_about(
    color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {**SETTINGS, "epochs": 1, "console": Console(), "augment": "cutmix"}
    for freeze, warns in ((7, True), (3, False)):  # maps of 1 x 1, and of 4 x 4
        veduta.train(color_folder, out=tmp_path / str(freeze), freeze=freeze, **settings)
        output = " ".join("".join(capsys.readouterr()).split())
        assert ("cutmix has no effect" in output) == warns
