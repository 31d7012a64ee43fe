"""Runs in int8 and runs that measure engines: what they choose once, record and reproduce."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import veduta
from tests.support.resuming import find_events
from tests.support.runs import QUIET
from veduta.data.folder import read_images
from veduta.data.pixels import Rejection
from veduta.errors import ArtifactError, EngineError, InputError, VersionWarning
from veduta.features import engines, quantized
from veduta.features.engines import get_engine_version
from veduta.features.store import compute_features
from veduta.inference.classifier import Classifier, load_classifier
from veduta.results.run import Run
from veduta.runs.events import RunFinished, RunStarted
from veduta.runs.scores import load_test_scores
from veduta.runtime.process import use_torch_threads
from veduta.tracking.console import Console
from veduta.training.step import compute_logits

PACKAGES = {distribution.name for distribution in distributions()}
if not {"nncf", "openvino"} <= PACKAGES:
    pytest.skip("nncf or openvino is not installed", allow_module_level=True)

GRID = {"lr": [3e-3, 1e-2]}


def search(data: Path, out: Path, **more: object) -> Run:
    settings: dict[str, Any] = {"image_size": 32, "epochs": 2, "console": QUIET, **more}
    return veduta.search(data, grid=GRID, out=out, **settings)


@pytest.fixture(scope="module")
def int8(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished search in int8. Not to be changed by a test."""
    return search(color_folder, tmp_path_factory.mktemp("int8") / "run", precision="int8")


def predict_logits(classifier: Classifier, data: Path, names: Sequence[str]) -> np.ndarray:
    """Return the logits of images, in the order and on the one thread of a search."""
    pixels = []
    for image in classifier.decode(read_images([data / name for name in names])):
        assert not isinstance(image, Rejection)
        pixels.append(image.pixels)
    features = compute_features(np.stack(pixels), classifier.backbone, classifier._engine)
    with use_torch_threads(1):
        return compute_logits(classifier.head, [torch.from_numpy(features)]).numpy()


def test_a_loaded_model_reproduces_the_scores_of_the_search(int8: Run, color_folder: Path) -> None:
    scores = load_test_scores(int8.directory.test_scores)
    logits = predict_logits(load_classifier(int8.directory.path), color_folder, scores.paths)
    np.testing.assert_array_equal(logits, scores.logits)


def test_predict_and_evaluate_run_in_int8(int8: Run, color_folder: Path, tmp_path: Path) -> None:
    scores = load_test_scores(int8.directory.test_scores)
    paths = [color_folder / name for name in scores.paths]
    predictions = veduta.predict(int8.directory.path, paths, out=tmp_path / "p", console=QUIET)
    classes = int8.summary.data.classes
    assert list(predictions.table["label"]) == [classes[i] for i in scores.logits.argmax(1)]
    for path in paths:
        copy = tmp_path / "data" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    evaluation = veduta.evaluate(
        int8.directory.path, tmp_path / "data", out=tmp_path / "e", console=QUIET
    )
    assert evaluation.summary.test.accuracy.value == int8.summary.test.accuracy.value


def test_engine_and_precision_are_recorded(int8: Run) -> None:
    (start,), (end,) = find_events(int8, RunStarted), find_events(int8, RunFinished)
    for engine in (start.provenance.engine, end.summary.engine, int8.summary.engine):
        assert (engine.name, engine.precision) == ("openvino", "int8")
    agreement = int8.summary.engine_agreement
    assert agreement == end.summary.engine_agreement
    assert agreement is not None
    assert (agreement.reference, agreement.images) == ("torch f32", 16)
    assert 1e-3 < agreement.max_relative_difference < 0.9
    assert 0.5 < agreement.min_cosine_similarity < 1
    manifest = json.loads((int8.directory.model / "model.json").read_text())
    assert (manifest["engine"], manifest["precision"]) == ("openvino", "int8")
    assert manifest["engine_version"] == get_engine_version("openvino")
    assert {file["role"] for file in manifest["files"]} == {"weights", "ir"}


def test_a_model_in_int8_of_another_openvino_is_warned_about(int8: Run, tmp_path: Path) -> None:
    """Its kernels may round differently; in float32 versions agree up to rounding."""
    shutil.copytree(int8.directory.model, tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "engine_version": "2020.1 cpu"}))
    with pytest.warns(VersionWarning, match=r"openvino.*2020\.1 cpu") as caught:
        veduta.load(tmp_path / "model")
    (warning,) = caught
    assert content["engine_version"] in str(warning.message)


def test_the_next_run_has_the_same_network_without_calibration(
    int8: Run, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized, "_quantize", None)
    again = search(color_folder, tmp_path / "again", precision="int8")
    assert again.summary.rows_computed.model_dump() == {"pixels": 0, "features": 0}
    for name in ("model.safetensors", "model.xml", "model.bin", "model.json"):
        assert (again.directory.model / name).read_bytes() == (
            int8.directory.model / name
        ).read_bytes()
    assert again.summary.engine_agreement == int8.summary.engine_agreement


def test_only_training_images_calibrate(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated: list[list[str]] = []
    load = quantized.load_quantized_backbone

    def record(*args: Any, **options: Any) -> quantized.QuantizedBackbone:
        calibrated.append([image.sample.name for image in args[2]])
        return load(*args, **options)

    monkeypatch.setattr(quantized, "load_quantized_backbone", record)
    run = search(color_folder, tmp_path / "run", precision="int8")
    table = run.directory.splits.read_text().splitlines()[1:]
    train = {line.split(",")[0] for line in table if line.split(",")[2] == "train"}
    assert calibrated
    assert set(calibrated[0]) == train  # there are fewer than 300


def test_a_model_in_int8_cannot_run_on_torch(int8: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"int8.*engine=torch"):
        veduta.load(int8.directory.path, engine="torch")
    assert veduta.load(int8.directory.path, engine="openvino").classes
    monkeypatch.setattr("veduta.features.openvino_engine.is_installed", lambda _: False)
    cure = r"pip install 'veduta\[openvino\]', or train with precision=f32$"
    with pytest.raises(EngineError, match=cure):
        veduta.load(int8.directory.path)


def test_a_model_of_openvino_names_a_cure_that_works_without_it(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = search(color_folder, tmp_path / "run", engine="openvino").directory.path
    monkeypatch.setattr("veduta.features.openvino_engine.is_installed", lambda _: False)
    with pytest.raises(EngineError, match=r"veduta\.load\(path, engine='torch'\)$"):
        veduta.load(path)
    assert veduta.load(path, engine="torch").classes


def replace_networks(model: Path, **networks: bytes) -> None:
    """Replace networks of a model, and their digests in the manifest."""
    content = json.loads((model / "model.json").read_text())
    for file in content["files"]:
        if data := networks.get(Path(file["name"]).suffix[1:]):
            (model / file["name"]).write_bytes(data)
            file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (model / "model.json").write_text(json.dumps(content))


def test_the_network_of_another_model_is_refused(
    int8: Run, color_folder: Path, tmp_path: Path
) -> None:
    other = search(color_folder, tmp_path / "other", precision="int8", image_size=40)
    shutil.copytree(int8.directory.model, tmp_path / "mixed")
    names = {"xml": "model.xml", "bin": "model.bin"}
    replace_networks(
        tmp_path / "mixed",
        **{kind: (other.directory.model / name).read_bytes() for kind, name in names.items()},
    )
    with pytest.raises(ArtifactError, match=r"\(1, 32, 32, 3\).*\(1, 40, 40, 3\)"):
        load_classifier(tmp_path / "mixed")
    replace_networks(tmp_path / "mixed", xml=b"no network")
    with pytest.raises(ArtifactError, match=r"mixed: OpenVINO must be able to read the network"):
        load_classifier(tmp_path / "mixed")


def test_a_manifest_with_int8_on_torch_is_refused(int8: Run, tmp_path: Path) -> None:
    shutil.copytree(int8.directory.model, tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "engine": "torch"}))
    with pytest.raises(ArtifactError, match=r"int8.*openvino.*torch"):
        load_classifier(tmp_path / "model")


@pytest.mark.parametrize("name", ["model.safetensors", "model.xml", "model.bin"])
def test_a_resumed_run_repairs_its_model(int8: Run, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(int8.directory.path, run)
    whole = (run / "model" / name).read_bytes()
    (run / "model" / name).write_bytes(whole[:-1])
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(lines[:-1]))  # killed before its end
    veduta.search(resume=run, console=QUIET)
    assert (run / "model" / name).read_bytes() == whole


def test_fastest_is_not_an_engine_of_a_model(int8: Run) -> None:
    with pytest.raises(InputError, match=r"auto, torch, openvino.*'fastest'"):
        veduta.load(int8.directory.path, engine="fastest")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "torch", "precision": "int8"}, "int8 needs OpenVINO"),
        ({"freeze": 3, "precision": "int8"}, "int8 needs a backbone that is not trained"),
    ],
)
def test_int8_is_refused_with_other_settings(
    color_folder: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        search(color_folder, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("winner", ["torch", "openvino"])
def test_the_fastest_engine_is_measured_once_and_recorded(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, winner: str
) -> None:
    calls: list[tuple[str, ...]] = []

    def measure(names: tuple[str, ...], *_: object, **__: object) -> dict[str, float]:
        calls.append(names)
        return {name: 50.04 if name == winner else 20.0 for name in names}

    monkeypatch.setattr(engines, "measure_speeds", measure)
    monkeypatch.setattr(engines, "is_x86", lambda: True)
    lines: list[str] = []
    console = Console(quiet=True)
    monkeypatch.setattr(console, "say", lines.append)
    run = search(color_folder, tmp_path / "run", engine="fastest", console=console)
    assert calls == [("openvino", "torch")]
    loser = {"torch": "openvino", "openvino": "torch"}[winner]
    (start,) = find_events(run, RunStarted)
    for engine in (start.provenance.engine, run.summary.engine):
        assert engine.name == winner
        assert engine.images_per_second == {winner: 50.0, loser: 20.0}
    assert start.configuration.settings["engine"] == "fastest"
    assert json.loads((run.directory.model / "model.json").read_text())["engine"] == winner
    (line,) = [text for text in lines if text.startswith("engine ")]
    assert f"{winner}, the fastest here" in line
    fixed = search(color_folder, tmp_path / "fixed", engine=winner)
    assert fixed.summary.validation_accuracy == run.summary.validation_accuracy


def test_torch_is_not_compared_with_itself(color_folder: Path, tmp_path: Path) -> None:
    assert search(color_folder, tmp_path / "run", engine="torch").summary.engine_agreement is None


@pytest.mark.parametrize("rounding", [1e-3, 1e-12])
def test_openvino_in_float32_agrees_or_is_warned_about(
    color_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    rounding: float,
) -> None:
    monkeypatch.setattr(engines, "ROUNDING", rounding)
    agreement = search(color_folder, tmp_path / "run", engine="openvino").summary.engine_agreement
    assert agreement is not None
    assert 0 < agreement.max_relative_difference < 1e-4
    assert agreement.min_cosine_similarity == pytest.approx(1, abs=1e-6)
    warned = "is not rounding" in capfd.readouterr().err
    assert warned == (rounding < 1e-3)


@pytest.mark.slow
def test_a_head_on_int8_features_is_as_accurate(intel: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split, every in (("train", 12), ("test", 6)):
        for folder in sorted((intel / split).iterdir()):
            for path in sorted(folder.iterdir())[::every]:
                copy = data / split / folder.name / path.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    accuracy = {
        precision: veduta.train(
            data, out=tmp_path / precision, image_size=150, epochs=15, lr=3e-3,
            engine="openvino", precision=precision, console=QUIET,
        ).summary.test.accuracy
        for precision in ("f32", "int8")
    }  # fmt: skip
    assert accuracy["int8"].images > 100
    assert abs((accuracy["f32"].value or 0) - (accuracy["int8"].value or 0)) < 0.04
