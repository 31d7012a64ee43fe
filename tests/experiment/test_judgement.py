"""What a run says of its winner: from its directory alone, and the same every time."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import veduta
from tests.conftest import SHARED
from tests.experiment.test_run import QUIET, search
from veduta.errors import InputError
from veduta.evaluation.calibration import fit_temperature
from veduta.experiment.judgement import judge, seed_of, write_judgement
from veduta.results.run import Run
from veduta.runs.artifact import MANIFEST, read_manifest
from veduta.runs.directory import RunDirectory

TOLD = ("figures", "calibration", "abstain", "label_issues")


@pytest.fixture(scope="module")
def found(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search(colours, tmp_path_factory.mktemp("runs") / "run", folds=3, seed=4)


@pytest.fixture(scope="module")
def undivided(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search(colours, tmp_path_factory.mktemp("runs") / "run", seed=4)


def again(run: Run, to: Path) -> dict[str, object]:
    """Tell it again, from splits.csv, config.yaml and scores/ alone."""
    to.mkdir()
    for name in ("splits.csv", "config.yaml"):
        shutil.copy(run.directory.path / name, to)
    shutil.copytree(run.directory.scores, to / "scores")
    directory = RunDirectory(to)
    winner, classes = run.summary["winner"]["trial"], tuple(run.summary["classes"])
    judgement = judge(directory, winner=winner, classes=classes)
    return write_judgement(directory, judgement, seed=seed_of(directory))


def test_it_is_told_again_byte_for_byte(found: Run, tmp_path: Path) -> None:
    told = again(found, tmp_path / "again")
    expected = {name: found.summary[name] for name in TOLD}
    assert json.dumps(told) == json.dumps(expected)
    issues = (tmp_path / "again" / "label_issues.csv").read_bytes()
    assert issues == found.directory.label_issues.read_bytes()


def test_every_image_that_judged_out_of_fold_is_listed_once(found: Run) -> None:
    table = pd.read_csv(found.directory.label_issues)
    splits = pd.read_csv(found.directory.splits).set_index("path")
    assert sorted(table["path"]) == sorted(splits.index[splits["split"] == "train"])
    assert (splits.loc[table["path"], "label"].to_numpy() == table["label"]).all()
    assert found.summary["label_issues"] == table["issue"].sum()


def test_without_folds_no_label_is_doubted(undivided: Run) -> None:
    assert undivided.summary["label_issues"] is None
    assert not undivided.directory.label_issues.exists()


@pytest.mark.parametrize("which", ["found", "undivided"])
def test_scores_meet_their_truth(which: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(which)
    winner, judgement = run.summary["winner"]["trial"], run.judgement
    kept = np.load(run.directory.scores / f"{winner}.npz")
    hits = np.unpackbits(kept["hits"], axis=1, count=int(kept["images"])).astype(bool)
    assert (judgement.validation.correct == hits[int(kept["best_epoch"]) - 1]).all()
    fitted = fit_temperature(kept["val_logits"], judgement.validation.y_true)
    assert run.summary["calibration"]["temperature"] == fitted.value
    manifest = read_manifest(run.directory.model / MANIFEST)
    assert manifest.temperature == fitted.value
    assert [bound.threshold for bound in manifest.error_bounds][:2] == [0, 0.5]
    assert manifest.error_bounds[0].accepted == run.summary["validation"]["images"]
    figures = run.summary["figures"]
    assert figures["weighted_recall"]["value"] == pytest.approx(run.summary["test"]["accuracy"])
    assert figures["kappa"]["images"] == run.summary["test"]["images"]


def test_files_that_do_not_belong_together_are_refused(undivided: Run, tmp_path: Path) -> None:
    again(undivided, tmp_path / "copy")
    directory = RunDirectory(tmp_path / "copy")
    winner, classes = undivided.summary["winner"]["trial"], tuple(undivided.summary["classes"])
    lines = directory.splits.read_text().splitlines()
    directory.splits.write_text("\n".join(x for x in lines if "validation" not in x) + "\n")
    with pytest.raises(InputError, match="must have logits of 0 images and 3 classes"):
        judge(directory, winner=winner, classes=classes)
    directory.test.write_bytes(b"no archive")
    shutil.copy(undivided.directory.splits, directory.splits)
    with pytest.raises(InputError, match="scores of a run must be as it wrote them"):
        judge(directory, winner=winner, classes=classes)


def test_predict_abstains(undivided: Run, colours: Path, tmp_path: Path) -> None:
    model = veduta.load(undivided.directory.path)
    bounds = model._classifier.manifest.error_bounds
    wanted = bounds[3].model_copy(update={"error_high": 0.1, "threshold": 0.36})
    shown = (*bounds[:3], wanted)
    changed = {"error_bounds": shown, "temperature": 2.0}
    manifest = model._classifier.manifest.model_copy(update=changed)
    model._classifier.manifest = manifest
    table = model.predict(colours / "red", max_error=0.1)
    plain = model.predict(colours / "red")
    assert list(plain.columns) == ["path", "label", "probability"]
    assert list(table.columns) == [*plain.columns, "confidence", "abstained"]
    assert (table["probability"] == plain["probability"]).all()
    assert (table["confidence"] < table["probability"]).all()  # a temperature of 2 takes some away
    assert (table["abstained"] == (table["confidence"] < 0.36)).all()
    assert 0 < table["abstained"].sum() < 20
    with pytest.raises(InputError, match=r"no threshold .* at most 0\.1 %"):
        model.predict(colours / "red", max_error=0.001)
    with pytest.raises(InputError, match="a share between 0 and 1"):
        model.predict(colours / "red", max_error=2)
    model._classifier.manifest = manifest.model_copy(update={"error_bounds": ()})
    with pytest.raises(InputError, match="train it again"):
        model.predict(colours / "red", max_error=0.1)


def test_an_evaluation_says_what_the_run_says(
    undivided: Run, colours: Path, tmp_path: Path
) -> None:
    kept = np.load(undivided.directory.test)
    for name in kept["paths"]:
        target = tmp_path / "test" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(colours / name, target)
    found = veduta.evaluate(
        undivided.directory.path, tmp_path / "test", out=tmp_path / "out", console=QUIET
    )
    for name, figure in undivided.summary["figures"].items():
        value = figure["accuracy" if name.startswith("top") else "value"]
        other = found.figures[name]["accuracy" if name.startswith("top") else "value"]
        assert other == pytest.approx(value, abs=1e-4)
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert names >= {"areas", "reliability", "risk_coverage", "mistakes", "per_class", "summary"}
    mistakes = pd.read_csv(tmp_path / "out" / "mistakes.csv")
    assert len(mistakes) == (1 - found.accuracy.accuracy) * found.accuracy.images
    assert mistakes["probability"].is_monotonic_decreasing
    assert replace(found, directory=None).directory is None


@pytest.mark.slow
def test_flipped_labels_are_found(tmp_path: Path) -> None:
    if not (SHARED / "weather").is_dir():
        pytest.skip("../shared/data/weather is not here")
    generator = np.random.default_rng(0)
    paths = sorted((SHARED / "weather").rglob("*.jp*g"))
    labels = sorted({path.parent.name for path in paths})
    flips = set(generator.choice(len(paths), round(0.05 * len(paths)), replace=False).tolist())
    for place, path in enumerate(paths):
        label = path.parent.name
        if place in flips:
            label = str(generator.choice([other for other in labels if other != label]))
        target = tmp_path / "data" / label / f"{path.stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("RGB").resize((112, 112)).save(target)
    run = veduta.train(
        tmp_path / "data", folds=5, lr=3e-3, epochs=10, image_size=112, out=tmp_path / "run",
        console=QUIET,
    )  # fmt: skip
    table = pd.read_csv(run.directory.label_issues)
    wrong = np.array([paths_label(paths, path) for path in table["path"]]) != table["label"]
    assert wrong[: len(table) // 10].sum() >= 0.7 * wrong.sum()


def paths_label(paths: list[Path], name: str) -> str:
    """The label that a file had at first."""
    return next(path.parent.name for path in paths if path.stem == Path(name).stem)
