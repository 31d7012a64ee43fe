"""Views of frozen features against augmenting afresh; the mirror at test time."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

import veduta
from tests.support.trials import run_trial
from veduta.augment.pipeline import augment_images
from veduta.config.settings import Settings
from veduta.data.folder import read_folder
from veduta.errors import InputError
from veduta.experiment.examples import examples
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.feature_spec import resize_of
from veduta.features.engines import open_engine
from veduta.features.store import compute_features
from veduta.networks.backbones import build_backbone
from veduta.networks.heads import Head, build_head
from veduta.results.run import Run
from veduta.runtime.environment import cache_folder
from veduta.runtime.streams import order, sample_keys, stream
from veduta.tracking.console import Console
from veduta.training.folds import undivided
from veduta.training.state import Examples
from veduta.tuning.executors.fused.executor import run_tile
from veduta.tuning.executors.serial import Way
from veduta.tuning.trials.space import trial_of

SIZE, EPOCHS, CLASSES = 32, 4, ("blue", "green", "red")
QUIET = Console(quiet=True)
SETTINGS = Settings(
    weights="none", image_size=SIZE, epochs=EPOCHS, views=EPOCHS, batch_size=16, lr=0.01, seed=5,
    augment="flip+crop+rotation+perspective+colour",
)  # fmt: skip
GIVEN = {**SETTINGS.model_dump(exclude_defaults=True), "engine": "torch", "console": QUIET}

State = dict[str, torch.Tensor]


def pixels_of(paths: list[Path]) -> NDArray[np.uint8]:
    return np.stack([np.array(Image.open(path).convert("RGB")) for path in paths])


def augmented_afresh(paths: list[Path], digests: list[str]) -> list[State]:
    """The head after each epoch of a loop that shows every image anew: no store, no views kept."""
    backbone = build_backbone("efficientnet_lite0", "none", image_size=SIZE, seed=5,
                              cache=cache_folder())  # fmt: skip
    engine = open_engine("torch", backbone, threads=1)
    keys = sample_keys(digests)
    labels = torch.tensor([CLASSES.index(path.parent.name) for path in paths])
    head = build_head(Head(1280, 3), seed=5)
    adam = torch.optim.Adam(head.parameters(), lr=0.01)
    states = []
    for epoch in range(1, EPOCHS + 1):
        shown = augment_images(
            pixels_of(paths), keys, names=SETTINGS.augment, seed=5, view=epoch % EPOCHS
        )
        features = torch.from_numpy(compute_features(shown, backbone, engine))
        indices = order(stream(5, "order", epoch), keys)
        for start in range(0, len(paths), 16):
            batch = torch.from_numpy(indices[start : start + 16])
            adam.zero_grad()
            cross_entropy(head(features[batch]), labels[batch]).backward()
            adam.step()
        states.append({name: value.clone() for name, value in head.state_dict().items()})
    return states


@pytest.fixture(scope="module")
def made(colours: Path) -> tuple[Examples, Examples, list[State]]:
    """Training and validation examples with their views, and the loop's states."""
    materials = Materials("torch", 5, cache_folder(), QUIET)
    images = materials.pixels(read_folder(colours).samples, resize_of(SETTINGS)).images
    groups = [images[::2], images[1::2]]
    train, validation = examples(materials, groups, SETTINGS, classes=CLASSES)
    ordered = sorted(groups[0], key=lambda image: image.digest)
    paths = [image.sample.path for image in ordered]
    return train, validation, augmented_afresh(paths, [image.digest for image in ordered])


def test_as_many_views_as_epochs_is_augmenting_afresh(
    made: tuple[Examples, Examples, list[State]],
) -> None:
    train, validation, states = made
    folds, trial = undivided(train, validation), trial_of(SETTINGS)
    serial = run_trial(trial, folds, way=Way(3), record=lambda _: None)
    expected = states[serial.outcome.best_epoch - 1]
    for name, value in serial.network.state_dict().items():
        assert torch.equal(value, expected[name])

    (*_, last) = run_tile((trial,), folds, classes=3)
    ((_, fused),) = last.ended
    assert fused.outcome.best_epoch == serial.outcome.best_epoch
    for name, value in fused.network.state_dict().items():
        assert (value - expected[name]).abs().max() < 1e-5


def test_a_run_with_views_is_augmenting_afresh(colours: Path, tmp_path: Path) -> None:
    run = veduta.train(colours, out=tmp_path / "run", **GIVEN)
    rows = [line.split(",") for line in run.directory.splits.read_text().splitlines()[1:]]
    chosen = sorted((digest, colours / path) for path, _, part, digest in rows if part == "train")
    states = augmented_afresh([path for _, path in chosen], [digest for digest, _ in chosen])
    expected = states[run.summary["winner"]["best_epoch"] - 1]
    found = load_file(run.directory.model / "model.safetensors")
    for name, value in expected.items():
        assert (found[f"head.{name}"] - value).abs().max() < 1e-5


def test_only_what_trains_has_views_and_all_is_measured_plain(colours: Path) -> None:
    materials = Materials("torch", 5, cache_folder(), QUIET)
    images = materials.pixels(read_folder(colours).samples, resize_of(SETTINGS)).images
    groups = [images[:20], images[20:40], images[40:]]
    plain = SETTINGS.model_copy(update={"views": None})
    without = examples(materials, groups, plain, classes=CLASSES)
    several = examples(materials, groups, SETTINGS, classes=CLASSES, training=(0, 2))
    assert [len(one.views) for one in without] == [0, 0, 0]
    assert [len(one.views) for one in several] == [EPOCHS, 0, EPOCHS]
    for one, other in zip(several, without, strict=True):
        for part, same in zip(one.parts(7), other.parts(7), strict=True):
            assert torch.equal(part, same)
    seen = np.arange(20)
    shown = [several[2].seen_in(epoch)(seen).features for epoch in range(1, EPOCHS + 1)]
    assert all(not torch.equal(view, next(several[2].parts(20))) for view in shown)
    assert all(not torch.equal(a, b) for a, b in pairwise(shown))


def test_a_view_more_computes_one_view(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "cache"))
    computed, reused = [], []
    for views in (2, 3, 3):
        run = veduta.train(colours, out=tmp_path / str(len(computed)), **{**GIVEN, "views": views})
        computed.append(run.summary["computed"]["features"])
        reused.append(run.summary["reused"]["features"])
    train = run.summary["images"]["train"]
    assert computed == [60 + 2 * train, train, 0]
    assert reused == [0, 60 + 2 * train, 60 + 3 * train]


def test_trials_that_differ_in_views_run_side_by_side(colours: Path, tmp_path: Path) -> None:
    grid = {"views": ["none", 2], "lr": [1e-3, 1e-2], "augment": ["flip+crop", "crop+flip"]}
    given = {name: value for name, value in GIVEN.items() if name not in grid}
    run = veduta.search(colours, grid=grid, out=tmp_path / "run", refit=True, **given)
    assert run.summary["trials"] == 4
    table = run.trials.sort_values(["views", "lr"], na_position="first")
    assert table["views"].isna().tolist() == [True, True, False, False]
    assert list(table["augment"])[2:] == ["crop+flip", "crop+flip"]
    assert table["augment"][:2].isna().all()
    losses = table["val_loss"].to_numpy()
    assert not np.isclose(losses[:2], losses[2:]).any()


def test_a_shorter_trial_takes_the_first_of_the_views(colours: Path, tmp_path: Path) -> None:
    given = {name: value for name, value in GIVEN.items() if name != "epochs"}
    rows = {}
    for epochs in ([1, EPOCHS], [EPOCHS]):  # the first epoch alone, and as one of several
        out = tmp_path / str(len(epochs))
        run = veduta.search(colours, grid={"epochs": epochs}, out=out, **given)
        rows[len(epochs)] = run.epochs[run.epochs["epoch"] == 1]
    losses = [loss for table in rows.values() for loss in table["train_loss"]]
    assert len(losses) == 3
    assert max(losses) - min(losses) < 1e-5
    with pytest.raises(InputError, match=f"views={EPOCHS} with epochs=3"):
        veduta.search(colours, grid={"epochs": [1, 3]}, out=tmp_path / "refused", **given)


@pytest.fixture(scope="module")
def judged(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The same search without and with the mirror at test time."""
    folder = tmp_path_factory.mktemp("tta")
    given = {"image_size": SIZE, "epochs": 3, "engine": "torch", "grid": {"lr": [1e-3, 1e-2]}}
    return {
        tta: veduta.search(colours, out=folder / tta, tta=tta, console=QUIET, **given)
        for tta in ("none", "flip")
    }


def test_the_mirror_changes_nothing_but_the_test(judged: dict[str, Run]) -> None:
    plain, flip = judged["none"], judged["flip"]
    columns = [name for name in plain.trials if name != "seconds"]
    assert plain.trials[columns].equals(flip.trials[columns])
    assert (plain.summary["test"]["tta"], flip.summary["test"]["tta"]) == ("none", "flip")
    one, other = (np.load(run.directory.scores / "test.npz")["logits"] for run in judged.values())
    assert abs(one - other).max() > 1e-3


def test_logits_of_image_and_mirror_are_averaged(
    judged: dict[str, Run], colours: Path, tmp_path: Path
) -> None:
    kept = np.load(judged["flip"].directory.scores / "test.npz")
    plain = np.load(judged["none"].directory.scores / "test.npz")
    assert (kept["paths"] == plain["paths"]).all()
    classifier = judged["none"].classifier
    mirrored = pixels_of([colours / path for path in kept["paths"]])[:, :, ::-1]
    logits = np.log(classifier.probabilities(np.ascontiguousarray(mirrored)))
    logits += (plain["logits"] - logits).mean(1, keepdims=True)  # a softmax forgets a constant
    found = np.exp(kept["logits"]) / np.exp(kept["logits"]).sum(1, keepdims=True)
    mean = (plain["logits"] + logits) / 2
    expected = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_score_of_the_search_is_that_of_evaluate_and_predict(
    judged: dict[str, Run], colours: Path, tmp_path: Path
) -> None:
    run = judged["flip"]
    kept = np.load(run.directory.scores / "test.npz")
    for path in kept["paths"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(colours / path, tmp_path / path)
    found = veduta.evaluate(run.directory.path, tmp_path, out=tmp_path / "out", console=QUIET)
    assert found.summary["test"]["accuracy"] == run.summary["test"]["accuracy"]
    assert found.summary["test"]["tta"] == "flip"
    table = veduta.load(run.directory.path).predict([colours / path for path in kept["paths"]])
    expected = np.exp(kept["logits"]) / np.exp(kept["logits"]).sum(1, keepdims=True)
    assert list(table["label"]) == [CLASSES[index] for index in kept["logits"].argmax(1)]
    np.testing.assert_allclose(table["probability"], expected.max(1), atol=1e-5)
    manifest = json.loads((run.directory.model / "model.json").read_text())
    assert manifest["tta"] == "flip"


def test_an_image_and_its_mirror_are_judged_alike(judged: dict[str, Run]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
    for tta, run in judged.items():
        apart = abs(run.classifier.probabilities(pixels) - run.classifier.probabilities(mirrored))
        assert (apart.max() < 1e-6) == (tta == "flip")
