"""A search end to end on small images: files, winner, test score, determinism, errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import veduta
from tests.support.datasets import write_color_folders
from tests.support.resuming import find_events, read_untimed, read_weights
from tests.support.runs import QUIET, SMALL_GRID, SMALL_SETTINGS, run_small_search
from veduta.errors import VedutaError
from veduta.results.run import Run
from veduta.runs.events import RunStarted, TestEvaluated
from veduta.runs.journal import read_journal
from veduta.runs.scores import load_test_scores, load_validation_scores
from veduta.tracking.console import Console
from veduta.tracking.tables import TIMING, build_epochs_table, build_trials_table


@pytest.fixture(scope="module")
def run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished search. Not to be changed by a test."""
    return run_small_search(color_folder, tmp_path_factory.mktemp("runs") / "run")


def test_the_run_directory_has_all_files(run: Run) -> None:
    names = {path.name for path in run.directory.path.iterdir()}
    assert names == {
        "config.yaml", "journal.jsonl", "epochs.csv", "trials.csv", "summary.json", "rejected.csv",
        "splits.csv", "tensorboard", "model", "scores", "media", "report.html",
    }  # fmt: skip
    trials = set(run.trials["trial"])
    assert {path.name for path in run.directory.tensorboard.iterdir()} == trials
    assert {path.stem for path in run.directory.scores.iterdir()} == {*trials, "test"}
    content = json.loads(run.directory.summary.read_text())
    assert content == run.summary.model_dump(mode="json")
    assert content["format"] == 1


def test_the_winner_is_the_best_on_validation(run: Run) -> None:
    winner = run.summary.winner.trial
    row = run.trials.set_index("trial").loc[winner]
    assert row["val_accuracy"] == run.trials["val_accuracy"].max()
    assert row["val_accuracy"] == run.summary.validation_accuracy.value
    curve = run.epochs[run.epochs["trial"] == winner].set_index("epoch")["val_accuracy"]
    assert row["best_epoch"] == curve.idxmax()  # the first of the best


def test_scores_agree_with_the_tables(run: Run) -> None:
    for trial in run.trials["trial"]:
        scores = load_validation_scores(run.directory.validation_scores(trial))
        curve = run.epochs[run.epochs["trial"] == trial]["val_accuracy"]
        assert scores.correct.mean(1) == pytest.approx(curve.to_numpy())
        assert len(scores.logits) == run.summary.validation_accuracy.images


def test_the_test_accuracy_is_that_of_the_saved_scores(run: Run) -> None:
    scores = load_test_scores(run.directory.test_scores)
    correct = scores.logits.argmax(1) == scores.y_true
    test = run.summary.test
    assert test.accuracy.value == pytest.approx(correct.mean())
    assert test.accuracy.images == len(correct) == 12
    assert test.evaluations == 1


def test_every_table_can_be_written_from_the_journal(run: Run, tmp_path: Path) -> None:
    events = read_journal(run.directory.journal)
    for path, build in (
        (run.directory.trials, build_trials_table),
        (run.directory.epochs, build_epochs_table),
    ):
        build(events).to_csv(tmp_path / "again.csv", index=False, lineterminator="\n")
        assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_the_same_command_gives_the_same_bytes(
    run: Run, color_folder: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    reversed_grid = {name: values[::-1] for name, values in reversed(SMALL_GRID.items())}
    again = run_small_search(color_folder, tmp_path / "again", reversed_grid)
    for name in ("trials", "epochs"):
        assert read_untimed(getattr(again.directory, name)) == read_untimed(
            getattr(run.directory, name)
        )
    assert read_weights(again) == read_weights(run)
    assert tree(again.directory.media) == tree(run.directory.media)
    cards = {one.directory.model.joinpath("README.md").read_text() for one in (run, again)}
    assert len(cards) == 1
    assert again.summary.rows_from_cache.model_dump() == {"pixels": 60, "features": 60}
    assert again.summary.rows_computed.model_dump() == {"pixels": 0, "features": 0}
    assert again.summary.test.previous_evaluations >= 1


def test_a_cell_alone_gives_the_same_result_as_in_the_grid(
    run: Run, color_folder: Path, tmp_path: Path
) -> None:
    alone = veduta.train(
        color_folder, out=tmp_path / "alone", lr=1e-2, dropout=0.3, **SMALL_SETTINGS
    )
    dropped = [TIMING, "tied"]
    assert len(run.trials.merge(alone.trials, on="trial", how="inner")) == 1
    row = run.trials[run.trials["trial"] == alone.trials["trial"][0]].reset_index(drop=True)
    # up to rounding: a product of four heads is summed in another order than that of one
    pd.testing.assert_frame_equal(
        row.drop(columns=dropped), alone.trials.drop(columns=dropped), rtol=1e-5
    )


def poison_labels(test: Path) -> None:
    labels = sorted(path.name for path in test.iterdir())
    for name in labels:
        (test / name).rename(test / f"{name}-")
    for name, other in zip(labels, labels[1:] + labels[:1], strict=True):
        (test / f"{name}-").rename(test / other)


def poison_pixels(test: Path) -> None:
    generator = np.random.default_rng(9)
    for path in test.rglob("*.png"):
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(path)


def poison_files(test: Path) -> None:
    for path in test.rglob("*.png"):
        path.write_bytes(b"no image")


@pytest.mark.parametrize("poison", [poison_labels, poison_pixels, poison_files])
def test_the_test_set_has_no_influence_on_the_selection(
    split_folder: Path, tmp_path: Path, poison: Callable[[Path], None]
) -> None:
    clean = run_small_search(split_folder, tmp_path / "clean")
    poison(split_folder / "test")
    poisoned = run_small_search(split_folder, tmp_path / "poisoned")
    for name in ("trials", "epochs"):
        assert read_untimed(getattr(poisoned.directory, name)) == read_untimed(
            getattr(clean.directory, name)
        )
    assert read_weights(poisoned) == read_weights(clean)
    assert clean.summary.test != poisoned.summary.test  # the poison had an effect


def test_an_unreadable_test_set_gives_no_accuracy(split_folder: Path, tmp_path: Path) -> None:
    poison_files(split_folder / "test")
    run = run_small_search(split_folder, tmp_path / "run")
    assert run.summary.test.accuracy.value is None
    assert run.summary.test.evaluations == 0
    assert run.summary.data.rejected_files == 24
    assert len(pd.read_csv(run.directory.rejected)) == 24


def test_damaged_files_are_listed_and_the_others_are_used(tmp_path: Path) -> None:
    write_color_folders(tmp_path / "data", 20)
    damaged = sorted((tmp_path / "data" / "red").iterdir())[:2]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:60])
    run = run_small_search(tmp_path / "data", tmp_path / "run")
    table = pd.read_csv(run.directory.rejected)
    assert list(table["path"]) == [
        path.relative_to(tmp_path / "data").as_posix() for path in damaged
    ]
    assert len(pd.read_csv(run.directory.splits)) == 58


@pytest.mark.parametrize("refit", [False, True])
def test_predictions_equal_those_of_the_search(
    color_folder: Path, tmp_path: Path, *, refit: bool
) -> None:
    run = run_small_search(color_folder, tmp_path / "run", refit=refit)
    scores = load_test_scores(run.directory.test_scores)
    logits = scores.logits.astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    paths = [color_folder / path for path in scores.paths]
    model = veduta.load(run.directory.path)
    for size in (1, 5, len(paths)):
        parts = [
            model.predict(paths[start : start + size], top_k=3)
            for start in range(0, len(paths), size)
        ]
        table = pd.concat(parts, ignore_index=True)
        assert list(table["label"]) == [model.classes[i] for i in logits.argmax(1)]
        probabilities = np.zeros_like(expected)
        for rank in ("", "_2", "_3"):
            columns = [model.classes.index(label) for label in table[f"label{rank}"]]
            rows = np.arange(len(probabilities))
            probabilities[rows, columns] = table[f"probability{rank}"]
        assert abs(probabilities - expected).max() < 1e-5


def test_a_refit_evaluates_the_test_set_once(color_folder: Path, tmp_path: Path) -> None:
    run = run_small_search(color_folder, tmp_path / "run", refit=True)
    assert len(find_events(run, TestEvaluated)) == 1
    assert run.summary.winner.refit is True


def test_a_diverging_trial_is_recorded_and_the_search_continues(
    color_folder: Path, tmp_path: Path
) -> None:
    grid = {"lr": [1e-2, 1e38, 1e300]}
    run = run_small_search(color_folder, tmp_path / "run", grid, optimizer="sgd")
    assert list(run.trials["status"]) == ["finished", "failed", "failed"]
    assert run.summary.failed_trials == 2
    assert run.summary.winner.trial == run.trials["trial"][0]
    with pytest.raises(VedutaError, match="all failed"):
        run_small_search(color_folder, tmp_path / "none", {"lr": [1e38, 2e38]}, optimizer="sgd")
    assert list(pd.read_csv(tmp_path / "none" / "trials.csv")["status"]) == ["failed", "failed"]


def test_a_grid_may_have_two_image_sizes(color_folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        name: value for name, value in SMALL_SETTINGS.items() if name != "image_size"
    }
    run = veduta.search(
        color_folder, grid={"image_size": [32, 40]}, out=tmp_path / "run", **settings
    )
    alone = run_small_search(color_folder, tmp_path / "alone", {"lr": [1e-3]}, image_size=40)
    losses = run.trials.set_index("trial")["val_loss"]
    assert losses[alone.trials["trial"][0]] == alone.trials["val_loss"][0]
    assert len(losses) == 2


def test_the_config_of_a_run_replays_it(run: Run, color_folder: Path, tmp_path: Path) -> None:
    again = veduta.search(
        color_folder, grid={}, config=run.directory.config, out=tmp_path / "again", console=QUIET
    )
    assert read_untimed(again.directory.trials) == read_untimed(run.directory.trials)


def test_the_config_of_a_run_can_be_varied(run: Run, color_folder: Path, tmp_path: Path) -> None:
    again = veduta.search(
        color_folder, grid={"batch_size": [16]}, lr=1e-2, dropout=0.3, config=run.directory.config,
        out=tmp_path / "again", console=QUIET,
    )  # fmt: skip
    row = again.trials.iloc[0]
    assert (len(again.trials), row["batch_size"], row["lr"], row["epochs"]) == (1, 16, 1e-2, 3)


def test_a_grid_of_models_replays_with_the_image_size_of_each(
    color_folder: Path, tmp_path: Path
) -> None:
    grid = {"model": ["efficientnet_lite0", "efficientnet_lite1"]}
    quick: dict[str, Any] = {"epochs": 1, "engine": "openvino", "console": QUIET}
    first = veduta.search(color_folder, grid=grid, out=tmp_path / "first", **quick)
    again = veduta.search(
        color_folder, grid={}, config=first.directory.config, out=tmp_path / "again", **quick
    )
    assert list(first.trials["image_size"]) == [224, 240]
    assert list(again.trials["trial"]) == list(first.trials["trial"])


def test_an_interruption_leaves_tables_and_is_passed_on(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("veduta.experiment.feature_pipeline.load_views", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_small_search(color_folder, tmp_path / "run")
    assert len(pd.read_csv(tmp_path / "run" / "trials.csv")) == 0
    assert isinstance(read_journal(tmp_path / "run" / "journal.jsonl")[0], RunStarted)


def test_a_full_disk_is_reported_in_one_line(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("veduta.runs.artifact.write_atomically", fail)
    with pytest.raises(VedutaError, match="No space left") as caught:
        run_small_search(color_folder, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "run").iterdir() if "model" in path.name]


def test_a_file_that_is_removed_during_a_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_color_folders(tmp_path / "data", 8)
    console = Console(quiet=True)
    removed = tmp_path / "data" / "red" / "003.png"

    def remove(_: str) -> None:
        removed.unlink(missing_ok=True)

    monkeypatch.setattr(console, "say", remove)
    with pytest.raises(VedutaError, match=r"red/003\.png"):
        veduta.search(
            tmp_path / "data", grid={"image_size": [32, 40]}, epochs=1, engine="torch",
            out=tmp_path / "run", console=console,
        )  # fmt: skip


def test_the_images_are_not_changed(
    color_folder: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    before = tree(color_folder)
    run_small_search(color_folder, tmp_path / "run")
    assert tree(color_folder) == before


def test_the_manifest_has_what_prediction_needs(run: Run) -> None:
    manifest = json.loads((run.directory.model / "model.json").read_text())
    assert manifest["classes"] == ["blue", "green", "red"]
    assert manifest["engine"] == "torch"
    assert manifest["files"][0]["sha256"]
