"""A search with folds, end to end: what it writes, and what it does not depend on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import veduta
from tests.conftest import paint
from tests.experiment.test_run import search, untimed
from veduta.errors import InputError
from veduta.results.run import Run


@pytest.fixture(scope="module")
def found(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search(colours, tmp_path_factory.mktemp("runs") / "run", folds=5)


def test_every_image_but_those_of_the_test_judges_once(found: Run) -> None:
    table = pd.read_csv(found.directory.splits)
    assert Counter(table["split"]) == {"train": 48, "test": 12}
    assert table.loc[table["split"] == "test", "fold"].isna().all()
    counts = table.groupby(["label", "fold"]).size()
    assert len(counts) == 15
    assert set(counts) == {3, 4}
    assert found.summary["validation"]["images"] == 48
    for _, row in found.trials.iterrows():
        kept = np.load(found.directory.scores / f"{row['trial']}.npz")
        hits = np.unpackbits(kept["hits"], axis=1, count=int(kept["images"]))
        curve = found.epochs[found.epochs["trial"] == row["trial"]]["val_accuracy"]
        assert hits.mean(1) == pytest.approx(curve.to_numpy())
        assert kept["val_logits"].shape == (48, 3)
        labels = table[table["split"] == "train"].sort_values("sha256")["label"]
        right = kept["val_logits"].argmax(1) == labels.astype("category").cat.codes.to_numpy()
        assert (right == hits[row["best_epoch"] - 1]).all()  # in the canonical order


def test_the_summary_says_that_there_were_folds(found: Run) -> None:
    assert found.summary["folds"] == 5
    assert found.summary["winner"]["refit"] is True
    assert found.summary["images"] == {"train": 48, "validation": 0, "test": 12}


def test_names_and_order_of_files_mean_nothing(found: Run, colours: Path, tmp_path: Path) -> None:
    for path in colours.rglob("*.png"):
        name = np.random.default_rng(int(path.stem)).integers(10**9)
        target = tmp_path / "data" / path.parent.name / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    again = search(tmp_path / "data", tmp_path / "again", folds=5)
    for name in ("trials", "epochs"):
        assert untimed(getattr(again.directory, name)) == untimed(getattr(found.directory, name))
    weights = "model.safetensors"
    one, other = (run.directory.model / weights for run in (again, found))
    assert one.read_bytes() == other.read_bytes()


def test_a_validation_folder_joins_the_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(tmp_path / "data" / "train", 8)
    paint(tmp_path / "data" / "valid", 3, seed=1)
    paint(tmp_path / "data" / "test", 2, seed=2)
    run = veduta.search(
        tmp_path / "data", grid={"lr": [1e-3, 1e-2]}, folds=3, image_size=32, epochs=1,
        engine="torch", validation=0.3, out=tmp_path / "run",
    )  # fmt: skip
    told = capsys.readouterr()
    assert "33 train, 6 test (sealed)" in told.out
    assert "3 folds of about 11 images" in told.out
    assert "validation images that came are divided with the others" in told.out
    assert "validation has no effect here" in told.err
    table = pd.read_csv(run.directory.splits)
    assert Counter(table["fold"].dropna()) == {1: 11, 2: 11, 3: 11}
    seen = veduta.evaluate(
        run.directory.path, tmp_path / "data" / "valid", out=tmp_path / "evaluation"
    )
    assert seen.seen == 9


def test_a_class_needs_an_image_a_fold(tmp_path: Path) -> None:
    paint(tmp_path / "data", 4)
    with pytest.raises(InputError, match="at least 5 different readable images, for 4 folds and t"):
        search(tmp_path / "data", tmp_path / "run", folds=4)
    assert not (tmp_path / "run").exists()


def test_the_final_model_is_trained_on_all_but_the_test(colours: Path, tmp_path: Path) -> None:
    one_cell = {"lr": [1e-2]}
    with_folds = search(colours, tmp_path / "folds", one_cell, epochs=1, folds=5)
    without = search(colours, tmp_path / "refit", one_cell, epochs=1, refit=True)
    models = {
        (run.directory.model / "model.safetensors").read_bytes() for run in (with_folds, without)
    }
    assert len(models) == 1
