"""The public functions: their names, what they return, and their errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import veduta
import veduta.api
from tests.support.datasets import write_color_folders
from tests.support.runs import QUIET
from veduta.errors import InputError
from veduta.results.run import Run


@pytest.fixture(scope="module")
def run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short training."""
    out = tmp_path_factory.mktemp("api") / "run"
    return veduta.train(
        color_folder, out=out, image_size=32, epochs=4, lr=1e-2, engine="torch", console=QUIET
    )


def test_public_names_are_sorted_and_documented() -> None:
    assert veduta.__all__ == sorted(veduta.__all__)
    assert set(veduta.__all__) <= set(veduta.api.__all__)
    assert veduta.api.__all__ == sorted(veduta.api.__all__)
    for name in veduta.__all__:
        assert getattr(veduta, name) is getattr(veduta.api, name)
        assert getattr(veduta, name).__doc__
        assert name in dir(veduta)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = veduta.absent


def test_importing_modules_does_not_hide_a_function() -> None:
    script = (
        "import veduta, veduta.tuning.study, veduta.networks.catalogue.registry\n"
        "import veduta.results.predict, veduta.reporting.report\n"
        "assert all(callable(getattr(veduta, name)) for name in veduta.__all__)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_run_has_tables(run: Run) -> None:
    assert isinstance(run.trials, pd.DataFrame)
    assert list(run.epochs["epoch"]) == [1, 2, 3, 4]
    assert run.summary.command == "train"
    assert str(run.directory.path) in repr(run)
    assert len(run.leaderboard()) == 1


def test_predict_takes_a_file_a_folder_or_a_list(run: Run, color_folder: Path) -> None:
    model = veduta.load(run.directory.path)
    file = model.predict(color_folder / "red" / "000.png")
    assert list(file.columns) == ["path", "label", "probability"]
    folder = model.predict(color_folder / "red", top_k=3)
    assert len(folder) == 20
    assert folder[["probability", "probability_2", "probability_3"]].sum(axis=1).to_numpy() == (
        pytest.approx(np.ones(20))
    )
    folders = model.predict([str(color_folder / "red"), color_folder / "blue"])
    assert len(folders) == 40
    assert "red" in repr(model)


def test_a_file_that_cannot_be_decoded_has_no_row(
    run: Run, color_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"x")
    paths = [
        color_folder / "red" / "000.png",
        tmp_path / "broken.png",
        color_folder / "blue" / "001.png",
    ]
    table = veduta.load(run.directory.path).predict(paths)
    assert list(table["path"]) == [str(paths[0]), str(paths[2])]
    assert [name for name, _, _ in table.attrs["rejected"]] == [str(paths[1])]


def test_evaluate_counts_images_by_class_and_evaluations(run: Run, tmp_path: Path) -> None:
    write_color_folders(tmp_path / "new", 10, seed=7)
    model = veduta.load(run.directory.path)
    evaluation = model.evaluate(tmp_path / "new")
    assert evaluation.accuracy.images == 30
    assert evaluation.confusion.to_numpy().sum() == 30
    predictions = evaluation.predictions
    accuracy = (predictions["y_true"] == predictions["y_pred"]).mean()
    assert evaluation.accuracy.value == pytest.approx(accuracy)
    assert (evaluation.images_seen_in_training, evaluation.previous_evaluations) == (0, 0)
    assert model.evaluate(tmp_path / "new").previous_evaluations == 1
    assert "30 images" in repr(evaluation)


def test_evaluate_counts_training_images(run: Run, color_folder: Path) -> None:
    splits = pd.read_csv(run.directory.splits)
    evaluation = veduta.load(run.directory.path).evaluate(color_folder)
    assert evaluation.images_seen_in_training == (splits["split"] != "test").sum()


def test_evaluate_takes_a_folder_with_one_of_the_classes(run: Run, tmp_path: Path) -> None:
    write_color_folders(tmp_path / "new", 3, seed=8)
    one_class = tmp_path / "one class"
    one_class.mkdir()
    (tmp_path / "new" / "red").rename(one_class / "red")
    assert veduta.load(run.directory.path).evaluate(one_class).accuracy.images == 3


def test_labels_that_the_model_does_not_know_are_an_error(run: Run, tmp_path: Path) -> None:
    write_color_folders(tmp_path / "new", 2, seed=9)
    (tmp_path / "new" / "red").rename(tmp_path / "new" / "pink")
    with pytest.raises(InputError, match=r"got 'pink'"):
        veduta.load(run.directory.path).evaluate(tmp_path / "new")


def test_top_k_is_at_most_the_number_of_classes(run: Run, color_folder: Path) -> None:
    with pytest.raises(InputError, match="from 1 to 3"):
        veduta.load(run.directory.path).predict(color_folder / "red", top_k=4)


def test_a_directory_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model"):
        veduta.load(tmp_path)
    with pytest.raises(InputError, match=r"summary\.json"):
        Run(tmp_path)


def test_a_damaged_model_is_an_error(run: Run, tmp_path: Path) -> None:
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run.directory.model / name).read_bytes())
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="SHA-256"):
        veduta.load(tmp_path)


def test_models_and_cache_are_tables(run: Run) -> None:
    assert "efficientnet_lite0" in set(veduta.models()["model"])
    assert run.directory.path.is_dir()
    assert {"pixels", "features"} <= set(veduta.cache()["kind"])


def test_the_cache_lists_views_and_is_cleared(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "cache"))
    veduta.train(
        color_folder, out=tmp_path / "run", image_size=32, epochs=2, engine="torch", weights="none",
        views=2, augment="flip+crop", tta="flip", console=QUIET,
    )  # fmt: skip
    table = veduta.cache()
    specs = table.loc[table["kind"] == "features", "what"]
    views = ["", ", mirror", ", view 0 by crop+flip", ", view 1 by crop+flip"]
    assert sorted(spec.partition("f32")[2] for spec in specs) == views
    assert len(veduta.cache(clear=True)) == len(table)
    assert veduta.cache().empty
