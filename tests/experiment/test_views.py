"""Cached views against augmentation in every epoch; horizontal flip as test-time augmentation."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

import veduta
from tests.support.runs import QUIET
from tests.support.trials import run_trial
from veduta.augment.pipeline import augment_images
from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.data.folder import read_folder
from veduta.data.pixels import Image as DecodedImage
from veduta.errors import InputError
from veduta.experiment.examples import build_examples
from veduta.experiment.feature_pipeline import FeaturePipeline, PixelLoader
from veduta.experiment.feature_spec import BackboneLoader, build_resize
from veduta.features.engines import open_engine
from veduta.features.store import compute_features
from veduta.networks.backbones import build_backbone
from veduta.networks.heads import build_head_network
from veduta.results.run import Run
from veduta.runs.provenance import EngineChoice
from veduta.runs.scores import TestScores, load_test_scores
from veduta.runtime.environment import get_cache_folder
from veduta.runtime.streams import derive_key, derive_sample_keys, shuffle
from veduta.training.examples import Examples
from veduta.training.folds import create_single_fold
from veduta.tuning.executors.fused.executor import run_fused
from veduta.tuning.executors.serial import TrainingContext
from veduta.tuning.trials.space import build_trial
from veduta.tuning.trials.state import FinishedTrial
from veduta.types import PixelArray

SIZE, EPOCHS, CLASSES = 32, 4, ("blue", "green", "red")
SETTINGS = Settings(
    weights="none", image_size=SIZE, epochs=EPOCHS, views=EPOCHS, batch_size=16, lr=0.01, seed=5,
    augment="flip+crop+rotation+perspective+color",
)  # fmt: skip
GIVEN: dict[str, Any] = {
    **SETTINGS.model_dump(exclude_defaults=True),
    "engine": "torch",
    "console": QUIET,
}

State = dict[str, torch.Tensor]


def read_pixels(paths: list[Path]) -> PixelArray:
    return np.stack([np.array(Image.open(path).convert("RGB")) for path in paths])


def load_images(color_folder: Path) -> tuple[FeaturePipeline, tuple[DecodedImage, ...]]:
    """Return a feature pipeline, and the images of a folder."""
    cache = get_cache_folder()
    pixels = PixelLoader(cache, QUIET)
    engine = EngineChoice(name="torch", precision="f32")
    features = FeaturePipeline(pixels, BackboneLoader(5, cache), {}, engine, ())
    return features, pixels.load(read_folder(color_folder).samples, build_resize(SETTINGS)).images


def train_with_augmentation(paths: list[Path], digests: list[str]) -> list[State]:
    """Return the head after each epoch of a loop that augments every image in every epoch."""
    backbone = build_backbone(
        "efficientnet_lite0", "none", image_size=SIZE, seed=5, cache=get_cache_folder()
    )
    engine = open_engine("torch", backbone, threads=1)
    keys = derive_sample_keys(digests)
    labels = torch.tensor([CLASSES.index(path.parent.name) for path in paths])
    head = build_head_network(Head(1280, 3), seed=5)
    adam = torch.optim.Adam(head.parameters(), lr=0.01)
    states = []
    for epoch in range(1, EPOCHS + 1):
        augmented = augment_images(
            read_pixels(paths), keys, names=SETTINGS.augment, seed=5, view=epoch % EPOCHS
        )
        features = torch.from_numpy(compute_features(augmented, backbone, engine))
        indices = shuffle(derive_key(5, "order", epoch), keys)
        for start in range(0, len(paths), 16):
            batch = torch.from_numpy(indices[start : start + 16])
            adam.zero_grad()
            cross_entropy(head(features[batch]), labels[batch]).backward()
            adam.step()
        states.append({name: value.clone() for name, value in head.state_dict().items()})
    return states


@pytest.fixture(scope="module")
def reference(color_folder: Path) -> tuple[Examples, Examples, list[State]]:
    """Training and validation examples with their views, and the states of the loop above."""
    features, images = load_images(color_folder)
    groups = [images[::2], images[1::2]]
    train, validation = build_examples(features, groups, SETTINGS, classes=CLASSES)
    ordered = sorted(groups[0], key=lambda image: image.digest)
    paths = [image.sample.path for image in ordered]
    states = train_with_augmentation(paths, [image.digest for image in ordered])
    return train, validation, states


def test_as_many_views_as_epochs_equal_augmentation_in_every_epoch(
    reference: tuple[Examples, Examples, list[State]],
) -> None:
    train, validation, states = reference
    folds, trial = create_single_fold(train, validation), build_trial(SETTINGS)
    serial = run_trial(trial, folds, context=TrainingContext(3), record=lambda _: None)
    expected = states[serial.outcome.best_epoch - 1]
    for name, value in serial.network.state_dict().items():
        assert torch.equal(value, expected[name])

    (*_, last) = run_fused((trial,), folds, classes=3)
    ((_, fused),) = last.ended
    assert isinstance(fused, FinishedTrial)
    assert fused.outcome.best_epoch == serial.outcome.best_epoch
    for name, value in fused.network.state_dict().items():
        assert (value - expected[name]).abs().max() < 1e-5


def test_a_run_with_views_equals_augmentation_in_every_epoch(
    color_folder: Path, tmp_path: Path
) -> None:
    run = veduta.train(color_folder, out=tmp_path / "run", **GIVEN)
    rows = [line.split(",") for line in run.directory.splits.read_text().splitlines()[1:]]
    train = sorted(
        (digest, color_folder / path) for path, _, split, digest in rows if split == "train"
    )
    states = train_with_augmentation([path for _, path in train], [digest for digest, _ in train])
    expected = states[run.summary.winner.best_epoch - 1]
    tensors = load_file(run.directory.model / "model.safetensors")
    for name, value in expected.items():
        assert (tensors[f"head.{name}"] - value).abs().max() < 1e-5


def test_only_training_images_have_views_and_metrics_are_of_plain_images(
    color_folder: Path,
) -> None:
    features, images = load_images(color_folder)
    groups = [images[:20], images[20:40], images[40:]]
    without_views = SETTINGS.model_copy(update={"views": None})
    plain = build_examples(features, groups, without_views, classes=CLASSES)
    augmented = build_examples(features, groups, SETTINGS, classes=CLASSES, training=(0, 2))
    assert [len(examples.views) for examples in plain] == [0, 0, 0]
    assert [len(examples.views) for examples in augmented] == [EPOCHS, 0, EPOCHS]
    for first, second in zip(augmented, plain, strict=True):
        for part, other in zip(first.iterate_parts(7), second.iterate_parts(7), strict=True):
            assert torch.equal(part, other)
    indices = np.arange(20)
    epochs = range(1, EPOCHS + 1)
    views = [augmented[2].get_batch_source(epoch)(indices).features for epoch in epochs]
    assert all(not torch.equal(view, next(augmented[2].iterate_parts(20))) for view in views)
    assert all(not torch.equal(first, second) for first, second in pairwise(views))


def test_one_more_view_computes_one_view(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "cache"))
    computed: list[int] = []
    from_cache: list[int] = []
    for views in (2, 3, 3):
        run = veduta.train(
            color_folder, out=tmp_path / str(len(computed)), **{**GIVEN, "views": views}
        )
        computed.append(run.summary.rows_computed.features)
        from_cache.append(run.summary.rows_from_cache.features)
    train = run.summary.data.split_sizes.train
    assert computed == [60 + 2 * train, train, 0]
    assert from_cache == [0, 60 + 2 * train, 60 + 3 * train]


def test_trials_may_differ_in_views(color_folder: Path, tmp_path: Path) -> None:
    grid = {"views": ["none", 2], "lr": [1e-3, 1e-2], "augment": ["flip+crop", "crop+flip"]}
    given: dict[str, Any] = {name: value for name, value in GIVEN.items() if name not in grid}
    run = veduta.search(color_folder, grid=grid, out=tmp_path / "run", refit=True, **given)
    assert run.summary.trial_count == 4
    table = run.trials.sort_values(["views", "lr"], na_position="first")
    assert table["views"].isna().tolist() == [True, True, False, False]
    assert list(table["augment"])[2:] == ["crop+flip", "crop+flip"]
    assert table["augment"][:2].isna().all()
    losses = table["val_loss"].to_numpy()
    assert not np.isclose(losses[:2], losses[2:]).any()


def test_a_shorter_trial_uses_the_first_views(color_folder: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {name: value for name, value in GIVEN.items() if name != "epochs"}
    first_epochs = {}
    for epochs in ([1, EPOCHS], [EPOCHS]):  # the first epoch alone, and as one of several
        out = tmp_path / str(len(epochs))
        run = veduta.search(color_folder, grid={"epochs": epochs}, out=out, **given)
        first_epochs[len(epochs)] = run.epochs[run.epochs["epoch"] == 1]
    losses = [loss for table in first_epochs.values() for loss in table["train_loss"]]
    assert len(losses) == 3
    assert max(losses) - min(losses) < 1e-5
    with pytest.raises(InputError, match=f"views={EPOCHS} with epochs=3"):
        veduta.search(color_folder, grid={"epochs": [1, 3]}, out=tmp_path / "refused", **given)


@pytest.fixture(scope="module")
def runs(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The same search without and with test-time augmentation."""
    folder = tmp_path_factory.mktemp("tta")
    given: dict[str, Any] = {
        "image_size": SIZE,
        "epochs": 3,
        "engine": "torch",
        "grid": {"lr": [1e-3, 1e-2]},
    }
    return {
        tta: veduta.search(color_folder, out=folder / tta, tta=tta, console=QUIET, **given)
        for tta in ("none", "flip")
    }


def load_scores(run: Run) -> TestScores:
    return load_test_scores(run.directory.test_scores)


def compute_probabilities(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_test_time_augmentation_changes_the_test_only(runs: dict[str, Run]) -> None:
    plain, flip = runs["none"], runs["flip"]
    columns = [name for name in plain.trials if name != "seconds"]
    assert plain.trials[columns].equals(flip.trials[columns])
    assert (plain.summary.test.tta, flip.summary.test.tta) == ("none", "flip")
    assert abs(load_scores(plain).logits - load_scores(flip).logits).max() > 1e-3


def test_logits_of_an_image_and_its_mirror_image_are_averaged(
    runs: dict[str, Run], color_folder: Path
) -> None:
    plain, flip = load_scores(runs["none"]), load_scores(runs["flip"])
    assert flip.paths == plain.paths
    classifier = runs["none"].classifier
    mirrored = read_pixels([color_folder / path for path in flip.paths])[:, :, ::-1]
    logits = np.log(classifier.compute_probabilities(np.ascontiguousarray(mirrored)))
    logits += (plain.logits - logits).mean(1, keepdims=True)  # softmax ignores a constant
    expected = compute_probabilities((plain.logits + logits) / 2)
    np.testing.assert_allclose(compute_probabilities(flip.logits), expected, atol=1e-5)


def test_the_test_accuracy_is_that_of_evaluate_and_predict(
    runs: dict[str, Run], color_folder: Path, tmp_path: Path
) -> None:
    run = runs["flip"]
    scores = load_scores(run)
    for path in scores.paths:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(color_folder / path, tmp_path / path)
    evaluation = veduta.evaluate(run.directory.path, tmp_path, out=tmp_path / "out", console=QUIET)
    assert evaluation.summary.test.accuracy.value == run.summary.test.accuracy.value
    assert evaluation.summary.test.tta == "flip"
    table = veduta.load(run.directory.path).predict([color_folder / path for path in scores.paths])
    expected = compute_probabilities(scores.logits)
    assert list(table["label"]) == [CLASSES[index] for index in scores.logits.argmax(1)]
    np.testing.assert_allclose(table["probability"], expected.max(1), atol=1e-5)
    manifest = json.loads((run.directory.model / "model.json").read_text())
    assert manifest["tta"] == "flip"


def test_an_image_and_its_mirror_image_have_the_same_prediction(runs: dict[str, Run]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
    for tta, run in runs.items():
        compute = run.classifier.compute_probabilities
        difference = abs(compute(pixels) - compute(mirrored))
        assert (difference.max() < 1e-6) == (tta == "flip")
