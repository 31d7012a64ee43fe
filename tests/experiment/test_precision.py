"""Runs in int8 and runs that measure: what they decide once, write down, and give back."""

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import veduta
from veduta.data.folder import read_images
from veduta.errors import ArtefactError, EngineError, InputError, VersionWarning
from veduta.features import engines as agreement
from veduta.features import quantized as quantised
from veduta.features.engines import engine_version
from veduta.features.store import compute_features
from veduta.inference.classifier import Classifier, load_classifier
from veduta.results.run import Run
from veduta.runs.journal import read_journal
from veduta.runtime.process import threads_of
from veduta.tracking.console import Console
from veduta.training.step import logits_of

PACKAGES = {distribution.name for distribution in distributions()}
if not {"nncf", "openvino"} <= PACKAGES:
    pytest.skip("nncf or openvino is not installed", allow_module_level=True)

GRID = {"lr": [3e-3, 1e-2]}


def search(data: Path, out: Path, **more: object) -> Run:
    settings = {"image_size": 32, "epochs": 2, "console": Console(quiet=True), **more}
    return veduta.search(data, grid=GRID, out=out, **settings)


@pytest.fixture(scope="module")
def int8(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search(colours, tmp_path_factory.mktemp("int8") / "run", precision="int8")


def logits(classifier: Classifier, data: Path, names: np.ndarray) -> np.ndarray:
    """Of the images by these names, in the order and on the one thread of a search."""
    pixels = []
    for name in names:
        (sample,) = read_images([data / name])
        pixels.append(classifier._read(sample)[2])  # type: ignore[index]
    features = compute_features(np.stack(pixels), classifier.backbone, classifier._engine)
    with threads_of(1):
        return logits_of(classifier.head, [torch.from_numpy(features)]).numpy()


def test_a_loaded_model_gives_the_searchs_scores_to_the_bit(int8: Run, colours: Path) -> None:
    kept = np.load(int8.directory.scores / "test.npz")
    found = logits(load_classifier(int8.directory.path), colours, kept["paths"])
    np.testing.assert_array_equal(found, kept["logits"])


def test_predict_and_evaluate_run_in_int8(int8: Run, colours: Path, tmp_path: Path) -> None:
    kept = np.load(int8.directory.scores / "test.npz")
    paths = [colours / name for name in kept["paths"]]
    found = veduta.predict(
        int8.directory.path, paths, out=tmp_path / "p", console=Console(quiet=True)
    )
    classes = int8.summary["classes"]
    assert list(found.table["label"]) == [classes[i] for i in kept["logits"].argmax(1)]
    for path in paths:
        copy = tmp_path / "data" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    judged = veduta.evaluate(
        int8.directory.path, tmp_path / "data", out=tmp_path / "e", console=Console(quiet=True)
    )
    assert judged.accuracy.accuracy == int8.summary["test"]["accuracy"]


def test_what_was_decided_is_written_down(int8: Run) -> None:
    start, end = read_journal(int8.directory.journal)[
        :: len(read_journal(int8.directory.journal)) - 1
    ]
    for place in (start, end, int8.summary):
        assert (place["engine"], place["precision"]) == ("openvino", "int8")
    check = int8.summary["engine_check"]
    assert check == end["engine_check"]
    assert (check["reference"], check["images"]) == ("torch f32", 16)
    assert 1e-3 < check["largest_difference"] < 0.9
    assert 0.5 < check["smallest_cosine"] < 1
    manifest = json.loads((int8.directory.model / "model.json").read_text())
    assert (manifest["engine"], manifest["precision"]) == ("openvino", "int8")
    assert manifest["engine_version"] == engine_version("openvino")
    assert {file["role"] for file in manifest["files"]} == {"weights", "ir"}


def test_a_model_in_int8_of_another_openvino_is_warned_about(int8: Run, tmp_path: Path) -> None:
    """Its kernels may round elsewhere; in float32 versions agree up to rounding."""
    shutil.copytree(int8.directory.model, tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "engine_version": "2020.1 cpu"}))
    with pytest.warns(VersionWarning, match=r"openvino.*2020\.1 cpu") as caught:
        veduta.load(tmp_path / "model")
    (warning,) = caught
    assert content["engine_version"] in str(warning.message)


def test_the_next_run_has_the_same_network_without_calibrating(
    int8: Run, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "_quantise", None)
    again = search(colours, tmp_path / "again", precision="int8")
    assert again.summary["computed"] == {"pixels": 0, "features": 0}
    for name in ("model.safetensors", "model.xml", "model.bin", "model.json"):
        assert (again.directory.model / name).read_bytes() == (
            int8.directory.model / name
        ).read_bytes()
    assert again.summary["engine_check"] == int8.summary["engine_check"]


def test_only_training_images_calibrate(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    make = quantised.quantised

    def told(*given: Any, **more: Any) -> quantised.Quantised:
        seen.append([image.sample.name for image in given[2]])
        return make(*given, **more)

    monkeypatch.setattr(quantised, "quantised", told)
    run = search(colours, tmp_path / "run", precision="int8")
    table = run.directory.splits.read_text().splitlines()[1:]
    train = {line.split(",")[0] for line in table if line.split(",")[2] == "train"}
    assert seen
    assert set(seen[0]) == train  # there are fewer than 300


def test_a_model_in_int8_is_refused_to_torch(int8: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"head was fitted there.*leave the engine out"):
        veduta.load(int8.directory.path, engine="torch")
    assert veduta.load(int8.directory.path, engine="openvino").classes
    monkeypatch.setattr("veduta.features.openvino_engine.installed", lambda _: False)
    cure = r"pip install 'veduta\[openvino\]', or train with precision=f32$"
    with pytest.raises(EngineError, match=cure):
        veduta.load(int8.directory.path)


def test_a_model_of_openvino_names_a_cure_that_works_without_it(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = search(colours, tmp_path / "run", engine="openvino").directory.path
    monkeypatch.setattr("veduta.features.openvino_engine.installed", lambda _: False)
    with pytest.raises(EngineError, match=r"veduta\.load\(path, engine='torch'\)$"):
        veduta.load(path)
    assert veduta.load(path, engine="torch").classes


def relist(model: Path, **networks: bytes) -> None:
    """Other networks, and a manifest that vouches for them."""
    content = json.loads((model / "model.json").read_text())
    for file in content["files"]:
        if data := networks.get(Path(file["name"]).suffix[1:]):
            (model / file["name"]).write_bytes(data)
            file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (model / "model.json").write_text(json.dumps(content))


def test_a_network_of_another_model_is_refused(int8: Run, colours: Path, tmp_path: Path) -> None:
    other = search(colours, tmp_path / "other", precision="int8", image_size=40)
    shutil.copytree(int8.directory.model, tmp_path / "mixed")
    names = {"xml": "model.xml", "bin": "model.bin"}
    relist(
        tmp_path / "mixed",
        **{kind: (other.directory.model / name).read_bytes() for kind, name in names.items()},
    )
    with pytest.raises(ArtefactError, match=r"must take \(1, 32, 32, 3\).*takes \(1, 40, 40, 3\)"):
        load_classifier(tmp_path / "mixed")
    relist(tmp_path / "mixed", xml=b"no network")
    with pytest.raises(ArtefactError, match=r"mixed: OpenVINO must be able to read the network"):
        load_classifier(tmp_path / "mixed")


def test_int8_on_torch_is_refused(int8: Run, tmp_path: Path) -> None:
    shutil.copytree(int8.directory.model, tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "engine": "torch"}))
    with pytest.raises(ArtefactError, match=r"int8 must run on openvino; it names torch"):
        load_classifier(tmp_path / "model")


@pytest.mark.parametrize("name", ["model.safetensors", "model.xml", "model.bin"])
def test_an_extended_run_repairs_its_model(int8: Run, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(int8.directory.path, run)
    whole = (run / "model" / name).read_bytes()
    (run / "model" / name).write_bytes(whole[:-1])
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(lines[:-1]))  # killed before its end
    veduta.search(resume=run, console=Console(quiet=True))
    assert (run / "model" / name).read_bytes() == whole


def test_fastest_is_no_engine_for_a_model(int8: Run) -> None:
    with pytest.raises(InputError, match=r"one of auto, torch, openvino.*got 'fastest'"):
        veduta.load(int8.directory.path, engine="fastest")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"engine": "torch", "precision": "int8"}, "int8 needs OpenVINO"),
        ({"freeze": 3, "precision": "int8"}, "does not learn"),
    ],
)
def test_what_int8_does_not_go_with(
    colours: Path, tmp_path: Path, settings: dict[str, object], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        search(colours, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("winner", ["torch", "openvino"])
def test_fastest_decides_once_and_says_so(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, winner: str
) -> None:
    calls: list[tuple[str, ...]] = []

    def measure(names: tuple[str, ...], *_: object, **__: object) -> dict[str, float]:
        calls.append(names)
        return {name: 50.04 if name == winner else 20.0 for name in names}

    monkeypatch.setattr("veduta.features.engines.measure", measure)
    monkeypatch.setattr("veduta.features.engines.is_x86", lambda: True)
    said: list[str] = []
    console = Console(quiet=True)
    console.say = said.append  # type: ignore[method-assign]
    run = search(colours, tmp_path / "run", engine="fastest", console=console)
    assert calls == [("openvino", "torch")]
    loser = {"torch": "openvino", "openvino": "torch"}[winner]
    start = read_journal(run.directory.journal)[0]
    for place in (start, run.summary):
        assert place["engine"] == winner
        assert place["engine_measured"] == {winner: 50.0, loser: 20.0}
    assert start["settings"]["engine"] == "fastest"
    assert json.loads((run.directory.model / "model.json").read_text())["engine"] == winner
    (line,) = [text for text in said if text.startswith("engine ")]
    assert f"{winner}, the fastest here" in line
    fixed = search(colours, tmp_path / "fixed", engine=winner)
    assert fixed.summary["validation"] == run.summary["validation"]


def test_torch_is_not_compared_with_itself(colours: Path, tmp_path: Path) -> None:
    run = search(colours, tmp_path / "run", engine="torch")
    assert run.summary["engine_check"] is None


@pytest.mark.parametrize("rounding", [1e-3, 1e-12])
def test_openvino_in_float32_agrees_and_would_be_told_of(
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    rounding: float,
) -> None:
    monkeypatch.setattr(agreement, "ROUNDING", rounding)
    run = search(colours, tmp_path / "run", engine="openvino")
    check = run.summary["engine_check"]
    assert 0 < check["largest_difference"] < 1e-4
    assert check["smallest_cosine"] == pytest.approx(1, abs=1e-6)
    warned = "is not rounding" in capfd.readouterr().err
    assert warned == (rounding < 1e-3)


@pytest.mark.slow
def test_a_head_on_int8_features_is_as_good(
    intel: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    data = tmp_path / "data"
    for part, every in (("train", 12), ("test", 6)):
        for folder in sorted((intel / part).iterdir()):
            for path in sorted(folder.iterdir())[::every]:
                copy = data / part / folder.name / path.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    both = {
        precision: veduta.train(
            data, out=tmp_path / precision, image_size=150, epochs=15, lr=3e-3,
            engine="openvino", precision=precision, console=Console(quiet=True),
        ).summary["test"]
        for precision in ("f32", "int8")
    }  # fmt: skip
    assert both["int8"]["images"] > 100
    assert abs(both["f32"]["accuracy"] - both["int8"]["accuracy"]) < 0.04
