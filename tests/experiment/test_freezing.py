"""A search over `freeze`: frozen stages run once an image, the rest trains, the model is whole."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import veduta
from veduta.data.decode import decode
from veduta.errors import InputError
from veduta.features import engines
from veduta.inference.classifier import load_classifier
from veduta.networks.freezing import Prefix
from veduta.runs.journal import read_journal
from veduta.tracking.console import Console

QUIET = Console(quiet=True)
BASE = {"image_size": 32, "epochs": 2, "batch_size": 8, "engine": "torch", "console": QUIET}


def logits_from_files(run: Path, data: Path) -> tuple[list[str], np.ndarray]:
    """Log probabilities of the test images, by the artefact alone."""
    with np.load(run / "scores" / "test.npz") as kept:
        paths = [str(path) for path in kept["paths"]]
    classifier = load_classifier(run)
    pixels = np.stack([classifier.resize(decode((data / p).read_bytes())) for p in paths])
    return paths, np.log(classifier.probabilities(pixels))


def test_a_search_mixes_whole_and_partly_frozen_backbones(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "cache"))
    seen = {"whole": 0, "prefix": 0}
    real = engines.TorchEngine.features

    def counted(self, pixels, out, progress):  # noqa: ANN001, ANN202
        seen["prefix" if isinstance(self._backbone, Prefix) else "whole"] += len(pixels)
        real(self, pixels, out, progress)

    monkeypatch.setattr(engines.TorchEngine, "features", counted)
    grid = {"freeze": ["all", 7], "lr": [1e-4, 1e-2]}
    run = veduta.search(colours, grid=grid, out=tmp_path / "run", **BASE)
    assert seen["prefix"] in {48, 60}  # 48 train and choose; 12 test where a tail won
    assert seen["whole"] in {48, 60}
    assert sum(seen.values()) == 108
    table = run.trials
    assert list(table["status"]) == ["finished"] * 4
    assert {str(value) for value in table["freeze"]} == {"7", "all"}
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    tiles = [event["tiles"] for event in events if event["event"] == "tiles"]
    assert sorted([len(tile) for tile in one] for one in tiles) == [[1, 1], [2]]
    again = veduta.search(colours, grid=grid, out=tmp_path / "again", **BASE)
    for name in ("trials.csv", "model/model.safetensors", "scores/test.npz"):
        first, second = (tmp_path / one / name for one in ("run", "again"))
        if name == "trials.csv":
            drop = ["seconds"]
            assert run.trials.drop(columns=drop).equals(again.trials.drop(columns=drop))
        else:
            assert first.read_bytes() == second.read_bytes(), name


@pytest.mark.parametrize("refit", [False, True])
def test_the_artefact_predicts_what_the_search_scored(
    colours: Path, tmp_path: Path, *, refit: bool
) -> None:
    run = tmp_path / "run"
    veduta.train(colours, out=run, freeze=6, lr=3e-3, refit=refit, **BASE)
    _, found = logits_from_files(run, colours)
    with np.load(run / "scores" / "test.npz") as kept:
        expected = torch.from_numpy(kept["logits"]).double().log_softmax(1).numpy()
    assert np.abs(found - expected).max() < 1e-4
    assert (found.argmax(1) == expected.argmax(1)).all()
    manifest = json.loads((run / "model" / "model.json").read_text())
    assert manifest["settings"]["freeze"] == 6
    assert manifest["weights"].endswith("; stages behind the first 6 trained")
    tensors = load_file(run / "model" / "model.safetensors")
    names = {name.split(".", 1)[0] for name in tensors}
    assert names == {"backbone", "head"}


def test_the_frozen_stages_of_the_artefact_are_the_published_ones(
    colours: Path, tmp_path: Path
) -> None:
    for name, freeze in (("all", "all"), ("six", 6)):
        veduta.train(colours, out=tmp_path / name, freeze=freeze, **BASE)
    whole, six = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("all", "six")
    )
    assert whole.keys() == six.keys()
    moved = {n for n, t in six.items() if n.startswith("backbone.") and not t.equal(whole[n])}
    parts = {name.removeprefix("backbone.network.") for name in moved}
    assert {name.split(".")[0] for name in parts} == {"blocks", "conv_head", "bn2"}
    assert {name.split(".")[1] for name in parts if name.startswith("blocks")} == {"5", "6"}


def test_folds_and_views_go_with_it(colours: Path, tmp_path: Path) -> None:
    run = veduta.train(colours, out=tmp_path / "run", freeze=7, folds=2, views=1, **BASE)
    assert run.summary["validation"]["images"] in {48, 51}


def test_every_fault_is_found_before_anything_starts(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        veduta.search(colours, grid={"freeze": [9, 12]}, out=tmp_path / "run", **BASE)
    assert len(caught.value.faults) == 2
    assert "below the 9 stages of efficientnet_lite0" in caught.value.faults[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("freeze", ["none", 3])
def test_trials_that_differ_in_what_is_mixed_train_on_what_is_theirs(
    colours: Path, tmp_path: Path, freeze: str | int
) -> None:
    how = {**BASE, "freeze": freeze, "weights": "none", "lr": 1e-4, "epochs": 1}
    how |= {} if freeze == "none" else {"views": 1}  # all of them the same ones
    grid = {"augment": ["crop", "crop+mixup", "crop+cutmix"], "clip": [1e3, 1e4]}
    table = veduta.search(colours, grid=grid, out=tmp_path / "run", **how).trials
    assert (table.groupby("augment")["train_loss"].nunique() == 1).all()
    assert table["train_loss"].nunique() == 3


def test_a_box_that_cannot_be_cut_is_told(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = {**BASE, "epochs": 1, "console": Console(), "augment": "cutmix"}
    for freeze, told in ((7, True), (3, False)):  # maps of 1 x 1, and of 4 x 4
        veduta.train(colours, out=tmp_path / str(freeze), freeze=freeze, **how)
        said = " ".join("".join(capsys.readouterr()).split())
        assert ("cutmix changes nothing here" in said) == told
