"""A search with cross-validation: what it writes, and what has no influence on it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import veduta
from tests.support.datasets import write_color_folders
from tests.support.resuming import read_untimed, read_weights
from tests.support.runs import run_small_search
from veduta.errors import InputError
from veduta.results.run import Run
from veduta.runs.scores import load_validation_scores


@pytest.fixture(scope="module")
def run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished search with five folds. Not to be changed by a test."""
    return run_small_search(color_folder, tmp_path_factory.mktemp("runs") / "run", folds=5)


def test_every_image_except_test_images_is_held_out_once(run: Run) -> None:
    table = pd.read_csv(run.directory.splits)
    assert Counter(table["split"]) == {"train": 48, "test": 12}
    assert table.loc[table["split"] == "test", "fold"].isna().all()
    counts = table.groupby(["label", "fold"]).size()
    assert len(counts) == 15
    assert set(counts) == {3, 4}
    assert run.summary.validation_accuracy.images == 48
    labels = table[table["split"] == "train"].sort_values("sha256")["label"]  # canonical order
    y_true = labels.astype("category").cat.codes.to_numpy()
    for _, row in run.trials.iterrows():
        scores = load_validation_scores(run.directory.validation_scores(row["trial"]))
        curve = run.epochs[run.epochs["trial"] == row["trial"]]["val_accuracy"]
        assert scores.correct.mean(1) == pytest.approx(curve.to_numpy())
        assert scores.logits.shape == (48, 3)
        correct = scores.logits.argmax(1) == y_true
        assert (correct == scores.correct[row["best_epoch"] - 1]).all()


def test_the_summary_contains_the_folds(run: Run) -> None:
    assert run.summary.folds == 5
    assert run.summary.winner.refit is True
    sizes = run.summary.data.split_sizes.model_dump()
    assert sizes == {"train": 48, "validation": 0, "test": 12}


def test_names_and_order_of_files_have_no_influence(
    run: Run, color_folder: Path, tmp_path: Path
) -> None:
    for path in color_folder.rglob("*.png"):
        number = np.random.default_rng(int(path.stem)).integers(10**9)
        target = tmp_path / "data" / path.parent.name / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    again = run_small_search(tmp_path / "data", tmp_path / "again", folds=5)
    for name in ("trials", "epochs"):
        assert read_untimed(getattr(again.directory, name)) == read_untimed(
            getattr(run.directory, name)
        )
    assert read_weights(again) == read_weights(run)


def test_images_of_a_validation_folder_are_in_the_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_color_folders(tmp_path / "data" / "train", 8)
    write_color_folders(tmp_path / "data" / "valid", 3, seed=1)
    write_color_folders(tmp_path / "data" / "test", 2, seed=2)
    run = veduta.search(
        tmp_path / "data", grid={"lr": [1e-3, 1e-2]}, folds=3, image_size=32, epochs=1,
        engine="torch", validation=0.3, out=tmp_path / "run",
    )  # fmt: skip
    output = capsys.readouterr()
    assert "33 train, 6 test" in output.out
    assert "3 folds of about 11 images" in output.out
    assert "validation images of the data set are among them" in output.out
    assert "validation has no effect" in output.err
    table = pd.read_csv(run.directory.splits)
    assert Counter(table["fold"].dropna()) == {1: 11, 2: 11, 3: 11}
    evaluation = veduta.evaluate(
        run.directory.path, tmp_path / "data" / "valid", out=tmp_path / "evaluation"
    )
    assert evaluation.summary.images_seen_in_training == 9


def test_a_class_needs_an_image_per_fold(tmp_path: Path) -> None:
    write_color_folders(tmp_path / "data", 4)
    with pytest.raises(InputError, match=r"at least 5 .* for 4 folds"):
        run_small_search(tmp_path / "data", tmp_path / "run", folds=4)
    assert not (tmp_path / "run").exists()


def test_the_final_model_is_trained_on_all_except_test_images(
    color_folder: Path, tmp_path: Path
) -> None:
    grid = {"lr": [1e-2]}
    with_folds = run_small_search(color_folder, tmp_path / "folds", grid, epochs=1, folds=5)
    without_folds = run_small_search(color_folder, tmp_path / "refit", grid, epochs=1, refit=True)
    assert read_weights(with_folds) == read_weights(without_folds)
