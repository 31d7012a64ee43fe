"""The model of an artifact: contradictions are refused, and decoding is bounded in memory."""

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import veduta
from veduta.data.files import CHUNK_SIZE
from veduta.data.folder import read_images
from veduta.errors import ArtifactError, InputError
from veduta.inference.classifier import load_classifier
from veduta.tracking.console import Console
from veduta.types import Float32Array, PixelArray, ignore_progress


@pytest.fixture(scope="module")
def model(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("inference") / "run"
    veduta.train(
        color_folder, out=out, image_size=32, epochs=2, engine="torch", console=Console(quiet=True)
    )
    return out / "model"


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    content = json.loads((folder / "model.json").read_text())
    change(content)
    (folder / "model.json").write_text(json.dumps(content))


def replace_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Replace the tensors, and their size and digest in the manifest."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    entry = {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    edit(folder, lambda content: content["files"][0].update(entry))


MANIFESTS = {
    "another head": (lambda m: m["head"].update(features=7), "must take 1280 features"),
    "a huge head": (lambda m: m["head"].update(hidden=[10**9]), "head must fit"),
    "an unknown activation": (lambda m: m["head"].update(activation="x"), "no activation"),
    "an unknown model": (lambda m: m.update(model="x"), "no model"),
    "a class too many": (lambda m: m.update(classes=["a", "b", "c", "d"]), "lists 4"),
    "a class twice": (lambda m: m.update(classes=["a", "b", "b"]), "lists 2"),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_contradicts_itself_is_refused(copy: Path, kind: str) -> None:
    change, message = MANIFESTS[kind]
    edit(copy, change)
    with pytest.raises(ArtifactError, match=message):
        load_classifier(copy)


def test_tensors_of_other_shapes_are_refused(copy: Path) -> None:
    replace_tensors(copy, lambda t: t.update({"head.dense.0.weight": torch.zeros(3, 7)}))
    with pytest.raises(InputError, match="head must fit"):
        load_classifier(copy)
    replace_tensors(copy, lambda t: t.pop(next(name for name in t if name.startswith("backbone"))))  # type: ignore[arg-type]
    with pytest.raises(InputError):
        load_classifier(copy)


def test_probabilities_do_not_depend_on_the_batch(model: Path) -> None:
    classifier = load_classifier(model)
    pixels = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), np.uint8)
    together = classifier.compute_probabilities(pixels)
    apart = np.concatenate([classifier.compute_probabilities(pixels[i : i + 1]) for i in range(21)])
    assert abs(together - apart).max() < 1e-6
    assert together.sum(1) == pytest.approx(np.ones(21))


def test_decoding_is_at_most_a_few_chunks_ahead(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12 * CHUNK_SIZE):
        Image.new("L", (1, 1), number % 256).save(tmp_path / f"{number:05}.png")
    classifier = load_classifier(model)
    lock = threading.Lock()
    decoded, largest_lead, predicted = 0, 0, 0

    def compute_logits_slowly(pixels: PixelArray) -> Float32Array:
        nonlocal largest_lead, predicted
        predicted += len(pixels)
        threading.Event().wait(0.02)  # enough time to decode further images without a bound
        with lock:
            largest_lead = max(largest_lead, decoded - predicted)
        return np.zeros((len(pixels), 3), np.float32)

    resize = classifier.resize

    def count_and_resize(pixels: PixelArray) -> PixelArray:
        nonlocal decoded
        with lock:
            decoded += 1
        return resize(pixels)

    monkeypatch.setattr(classifier, "compute_logits", compute_logits_slowly)
    monkeypatch.setattr(classifier, "resize", count_and_resize)
    monkeypatch.setattr("veduta.data.pixels.count_cores", lambda: 2)
    scores = classifier.score(read_images([tmp_path]), ignore_progress)
    assert len(scores.samples) == 12 * CHUNK_SIZE
    assert largest_lead <= 5 * CHUNK_SIZE


def test_score_returns_predictions_in_order_and_rejected_files(
    model: Path, color_folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    paths = [color_folder / "red" / "000.png", broken, color_folder / "blue" / "000.png"]
    classifier = load_classifier(model)
    done: list[tuple[int, int]] = []
    scores = classifier.score(read_images(paths), lambda *counts: done.append(counts))
    assert [sample.path for sample in scores.samples] == [paths[0], paths[2]]
    assert [rejection.name for rejection in scores.rejected] == [str(broken)]
    assert done == [(3, 3)]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (paths[0], paths[2])]
    assert list(scores.digests) == digests
    pixels = np.stack([np.asarray(Image.open(path)) for path in (paths[0], paths[2])])
    np.testing.assert_allclose(scores.logits, classifier.compute_logits(pixels), atol=1e-5)
    np.testing.assert_allclose(scores.probabilities.sum(1), 1, atol=1e-6)
