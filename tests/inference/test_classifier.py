"""The model of an artefact: refused when it contradicts itself, bounded in memory when it reads."""

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
from veduta.data.files import CHUNK
from veduta.data.folder import read_images
from veduta.errors import ArtefactError, InputError
from veduta.inference.classifier import load_classifier
from veduta.tracking.console import Console


@pytest.fixture(scope="module")
def model(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("inference") / "run"
    veduta.train(
        colours, out=out, image_size=32, epochs=2, engine="torch", console=Console(quiet=True)
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
    """Other tensors, with a manifest that vouches for them."""
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
    "a class too many": (lambda m: m.update(classes=["a", "b", "c", "d"]), "names 4"),
    "a class twice": (lambda m: m.update(classes=["a", "b", "b"]), "names 2"),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_contradicts_itself_is_refused(copy: Path, kind: str) -> None:
    change, told = MANIFESTS[kind]
    edit(copy, change)
    with pytest.raises(ArtefactError, match=told):
        load_classifier(copy)


def test_tensors_of_other_shapes_are_refused(copy: Path) -> None:
    replace_tensors(copy, lambda t: t.update({"head.dense.0.weight": torch.zeros(3, 7)}))
    with pytest.raises(InputError, match="head must fit"):
        load_classifier(copy)
    replace_tensors(copy, lambda t: t.pop(next(name for name in t if name.startswith("backbone"))))
    with pytest.raises(InputError):
        load_classifier(copy)


def test_probabilities_do_not_depend_on_the_batch(model: Path) -> None:
    classifier = load_classifier(model)
    pixels = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), np.uint8)
    together = classifier.probabilities(pixels)
    apart = np.concatenate([classifier.probabilities(pixels[i : i + 1]) for i in range(21)])
    assert abs(together - apart).max() < 1e-6
    assert together.sum(1) == pytest.approx(np.ones(21))


def test_reading_stays_a_few_chunks_ahead(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12 * CHUNK):
        Image.new("L", (1, 1), number % 256).save(tmp_path / f"{number:05}.png")
    classifier = load_classifier(model)
    lock, read, most = threading.Lock(), [0], [0]
    taken = 0

    def slow(pixels: np.ndarray) -> np.ndarray:
        nonlocal taken
        taken += len(pixels)
        threading.Event().wait(0.02)  # long enough for readers to run away, if they could
        with lock:
            most[0] = max(most[0], read[0] - taken)
        return np.full((len(pixels), 3), 1 / 3, np.float32)

    reading = classifier.resize

    def counted(pixels: np.ndarray) -> np.ndarray:
        with lock:
            read[0] += 1
        return reading(pixels)

    monkeypatch.setattr(classifier, "probabilities", slow)
    monkeypatch.setattr(classifier, "resize", counted)
    monkeypatch.setattr("veduta.inference.classifier.processors", lambda: 2)
    scores = classifier.score(read_images([tmp_path]), lambda *_: None)
    assert len(scores.samples) == 12 * CHUNK
    assert most[0] <= 5 * CHUNK
