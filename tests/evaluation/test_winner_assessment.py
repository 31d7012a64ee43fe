"""Assessment of the winner: from the run directory alone, and equal to what the run wrote."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import veduta
from tests.support.datasets import SHARED
from tests.support.runs import QUIET, run_small_search
from veduta.errors import InputError
from veduta.evaluation.calibration import fit_temperature
from veduta.evaluation.winner_assessment import assess_winner, load_seed, write_label_issues
from veduta.results.run import Run
from veduta.runs.artifact import MANIFEST, read_manifest
from veduta.runs.directory import RunDirectory
from veduta.runs.scores import load_test_scores, load_validation_scores


@pytest.fixture(scope="module")
def folds_run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search with three folds."""
    return run_small_search(color_folder, tmp_path_factory.mktemp("runs") / "run", folds=3, seed=4)


@pytest.fixture(scope="module")
def split_run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search with one validation split."""
    return run_small_search(color_folder, tmp_path_factory.mktemp("runs") / "run", seed=4)


def copy_scores(run: Run, target: Path) -> RunDirectory:
    """Copy splits.csv, config.yaml and scores/ of a run, and nothing else."""
    target.mkdir()
    for path in (run.directory.splits, run.directory.config):
        shutil.copy(path, target)
    shutil.copytree(run.directory.scores, target / "scores")
    return RunDirectory(target)


def test_the_directory_alone_gives_the_summary_of_the_run(folds_run: Run, tmp_path: Path) -> None:
    directory, summary = copy_scores(folds_run, tmp_path / "copy"), folds_run.summary
    assessment = assess_winner(directory, winner=summary.winner.trial, classes=summary.data.classes)
    seed = load_seed(directory)
    assert seed == 4
    assert assessment.estimate_metrics(seed=seed) == summary.metrics
    assert assessment.summarize_calibration(seed=seed) == summary.calibration
    assert assessment.summarize_abstention() == summary.abstention
    assert write_label_issues(directory, assessment) == summary.label_issue_count
    written = folds_run.directory.label_issues.read_bytes()
    assert directory.label_issues.read_bytes() == written


def test_label_issues_list_every_training_image_once(folds_run: Run) -> None:
    table = pd.read_csv(folds_run.directory.label_issues)
    splits = pd.read_csv(folds_run.directory.splits).set_index("path")
    assert sorted(table["path"]) == sorted(splits.index[splits["split"] == "train"])
    assert (splits.loc[table["path"], "label"].to_numpy() == table["label"]).all()
    assert folds_run.summary.label_issue_count == table["issue"].sum()


def test_there_are_no_label_issues_without_folds(split_run: Run) -> None:
    assert split_run.summary.label_issue_count is None
    assert not split_run.directory.label_issues.exists()


@pytest.mark.parametrize("name", ["folds_run", "split_run"])
def test_scores_are_matched_with_their_labels(name: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(name)
    summary, assessment = run.summary, run.assessment
    scores = load_validation_scores(run.directory.validation_scores(summary.winner.trial))
    assert (assessment.validation.correct == scores.correct_at_best).all()
    fitted = fit_temperature(scores.logits, assessment.validation.y_true)
    assert summary.calibration.temperature == fitted.value
    manifest = read_manifest(run.directory.model / MANIFEST)
    assert manifest.temperature == fitted.value
    assert [bound.threshold for bound in manifest.error_bounds][:2] == [0, 0.5]
    assert manifest.error_bounds[0].accepted == summary.validation_accuracy.images
    assert summary.metrics["weighted_recall"].value == pytest.approx(summary.test.accuracy.value)
    assert summary.metrics["kappa"].images == summary.test.accuracy.images


def test_files_that_do_not_belong_together_are_an_error(split_run: Run, tmp_path: Path) -> None:
    directory, summary = copy_scores(split_run, tmp_path / "copy"), split_run.summary
    winner, classes = summary.winner.trial, summary.data.classes
    lines = directory.splits.read_text().splitlines()
    directory.splits.write_text("\n".join(x for x in lines if "validation" not in x) + "\n")
    with pytest.raises(InputError, match=rf"{winner}\.npz .*0 images and 3 classes"):
        assess_winner(directory, winner=winner, classes=classes)
    directory.test_scores.write_bytes(b"no archive")
    shutil.copy(split_run.directory.splits, directory.splits)
    with pytest.raises(InputError, match=r"test\.npz cannot be read"):
        assess_winner(directory, winner=winner, classes=classes)


def test_evaluation_equals_the_test_result_of_the_run(
    split_run: Run, color_folder: Path, tmp_path: Path
) -> None:
    for name in load_test_scores(split_run.directory.test_scores).paths:
        target = tmp_path / "test" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(color_folder / name, target)
    evaluation = veduta.evaluate(
        split_run.directory.path, tmp_path / "test", out=tmp_path / "out", console=QUIET
    )
    metrics = split_run.summary.metrics
    assert metrics is not None
    assert evaluation.metrics.keys() == metrics.keys()
    for name, metric in metrics.items():
        assert evaluation.metrics[name].value == pytest.approx(metric.value, abs=1e-4)
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert names >= {"areas", "reliability", "risk_coverage", "mistakes", "per_class", "summary"}
    mistakes = pd.read_csv(tmp_path / "out" / "mistakes.csv")
    assert len(mistakes) == (1 - evaluation.accuracy.value) * evaluation.accuracy.images
    assert mistakes["probability"].is_monotonic_decreasing


@pytest.mark.slow
def test_flipped_labels_are_found(tmp_path: Path) -> None:
    if not (SHARED / "weather").is_dir():
        pytest.skip("../shared/data/weather is missing")
    generator = np.random.default_rng(0)
    paths = sorted((SHARED / "weather").rglob("*.jp*g"))
    labels = sorted({path.parent.name for path in paths})
    flipped = set(generator.choice(len(paths), round(0.05 * len(paths)), replace=False).tolist())
    for index, path in enumerate(paths):
        label = path.parent.name
        if index in flipped:
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
    true_labels = {path.stem: path.parent.name for path in paths}
    wrong = np.array([true_labels[Path(path).stem] for path in table["path"]]) != table["label"]
    assert wrong[: len(table) // 10].sum() >= 0.7 * wrong.sum()
