"""The main job end to end, on small images: the promises that make its number one to trust."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import veduta
from tests.conftest import paint
from veduta.errors import VedutaError
from veduta.results.run import Run
from veduta.runs.journal import read_journal
from veduta.tracking.console import Console
from veduta.tracking.tables import TIMING, epochs_table, trials_table

QUIET = Console(quiet=True)
GRID = {"lr": [3e-3, 1e-2], "dropout": [0.0, 0.3]}
SMALL = {"image_size": 32, "epochs": 3, "engine": "torch", "console": QUIET}


def search(data: Path, out: Path, grid: dict[str, list[float]] = GRID, **more: object) -> Run:
    return veduta.search(data, grid=grid, out=out, **{**SMALL, **more})


def untimed(path: Path) -> bytes:
    """A table without its timing column, byte by byte."""
    lines = path.read_text().splitlines()
    place = lines[0].split(",").index(TIMING)
    return "\n".join(",".join(np.delete(line.split(","), place)) for line in lines).encode()


@pytest.fixture(scope="module")
def found(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search(colours, tmp_path_factory.mktemp("runs") / "run")


def test_the_run_directory_is_as_designed(found: Run) -> None:
    names = {path.name for path in found.directory.path.iterdir()}
    assert names == {
        "config.yaml", "journal.jsonl", "epochs.csv", "trials.csv", "summary.json", "rejected.csv",
        "splits.csv", "tensorboard", "model", "scores", "media", "report.html",
    }  # fmt: skip
    trials = set(found.trials["trial"])
    assert {path.name for path in found.directory.tensorboard.iterdir()} == trials
    scores = {path.stem for path in found.directory.scores.iterdir()}
    assert scores == {*trials, "test"}
    assert set(found.summary) >= {
        "winner", "validation", "test", "ties", "trials", "failed", "rejected", "images",
        "classes", "seconds",
    }  # fmt: skip
    assert set(found.summary["seconds"]) == {"pixels", "features", "training", "total"}


def test_the_winner_is_the_best_on_validation(found: Run) -> None:
    winner = found.summary["winner"]["trial"]
    row = found.trials.set_index("trial").loc[winner]
    assert row["val_accuracy"] == found.trials["val_accuracy"].max()
    assert row["val_accuracy"] == found.summary["validation"]["accuracy"]
    curve = found.epochs[found.epochs["trial"] == winner].set_index("epoch")["val_accuracy"]
    assert row["best_epoch"] == curve.idxmax()  # the first of the best


def test_scores_agree_with_the_tables(found: Run) -> None:
    for _, row in found.trials.iterrows():
        kept = np.load(found.directory.scores / f"{row['trial']}.npz")
        hits = np.unpackbits(kept["hits"], axis=1, count=int(kept["images"]))
        curve = found.epochs[found.epochs["trial"] == row["trial"]]["val_accuracy"]
        assert hits.mean(1) == pytest.approx(curve.to_numpy())
        assert len(kept["val_logits"]) == kept["images"] == found.summary["validation"]["images"]


def test_the_test_score_is_that_of_the_kept_scores(found: Run) -> None:
    kept = np.load(found.directory.scores / "test.npz")
    right = kept["logits"].argmax(1) == kept["truth"]
    assert found.summary["test"]["accuracy"] == pytest.approx(right.mean())
    assert found.summary["test"]["images"] == len(right) == 12
    assert found.summary["test"]["opened"] == 1


def test_every_table_can_be_made_from_the_journal(found: Run, tmp_path: Path) -> None:
    events = read_journal(found.directory.journal)
    for path, make in (
        (found.directory.trials, trials_table),
        (found.directory.epochs, epochs_table),
    ):
        make(events).to_csv(tmp_path / "again.csv", index=False, lineterminator="\n")
        assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_b9_the_same_command_gives_the_same_bytes(
    found: Run, colours: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    turned = {name: values[::-1] for name, values in reversed(GRID.items())}
    again = search(colours, tmp_path / "again", turned)
    for name in ("trials", "epochs"):
        assert untimed(getattr(again.directory, name)) == untimed(getattr(found.directory, name))
    weights = "model.safetensors"
    assert (again.directory.model / weights).read_bytes() == (
        found.directory.model / weights
    ).read_bytes()
    assert tree(again.directory.media) == tree(found.directory.media)
    cards = {run.directory.model.joinpath("README.md").read_text() for run in (found, again)}
    assert len(cards) == 1
    assert again.summary["reused"] == {"pixels": 60, "features": 60}
    assert again.summary["computed"] == {"pixels": 0, "features": 0}
    assert again.summary["test"]["opened_before"] >= 1


def test_a_cell_alone_gives_what_it_gives_in_the_grid(
    found: Run, colours: Path, tmp_path: Path
) -> None:
    settings = {k: v for k, v in SMALL.items() if k != "image_size"}
    alone = veduta.train(
        colours, out=tmp_path / "alone", lr=1e-2, dropout=0.3, image_size=32, **settings
    )
    drop = [TIMING, "tied"]
    both = found.trials.merge(alone.trials, on="trial", how="inner")
    assert len(both) == 1
    row = found.trials[found.trials["trial"] == alone.trials["trial"][0]].reset_index(drop=True)
    # but for rounding: a product of four heads sums in another order than that of one
    pd.testing.assert_frame_equal(
        row.drop(columns=drop), alone.trials.drop(columns=drop), rtol=1e-5
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
def test_the_test_set_cannot_reach_selection(
    split_colours: Path, tmp_path: Path, poison: Callable[[Path], None]
) -> None:
    clean = search(split_colours, tmp_path / "clean")
    poison(split_colours / "test")
    poisoned = search(split_colours, tmp_path / "poisoned")
    for name in ("trials", "epochs"):
        assert untimed(getattr(poisoned.directory, name)) == untimed(getattr(clean.directory, name))
    assert (poisoned.directory.model / "model.safetensors").read_bytes() == (
        clean.directory.model / "model.safetensors"
    ).read_bytes()
    assert clean.summary["test"] != poisoned.summary["test"]  # the poison did work


def test_a_test_set_that_cannot_be_read_gives_no_score(split_colours: Path, tmp_path: Path) -> None:
    poison_files(split_colours / "test")
    run = search(split_colours, tmp_path / "run")
    assert run.summary["test"]["accuracy"] is None
    assert run.summary["test"]["opened"] == 0
    assert run.summary["rejected"] == 24
    assert len(pd.read_csv(run.directory.rejected)) == 24


def test_damaged_files_are_listed_once_and_the_rest_is_used(tmp_path: Path) -> None:
    paint(tmp_path / "data", 20)
    damaged = sorted((tmp_path / "data" / "red").iterdir())[:2]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:60])
    run = search(tmp_path / "data", tmp_path / "run")
    table = pd.read_csv(run.directory.rejected)
    assert list(table["path"]) == [
        path.relative_to(tmp_path / "data").as_posix() for path in damaged
    ]
    assert len(pd.read_csv(run.directory.splits)) == 58


@pytest.mark.parametrize("refit", [False, True])
def test_predictions_equal_those_of_the_search(
    colours: Path, tmp_path: Path, *, refit: bool
) -> None:
    run = search(colours, tmp_path / "run", refit=refit)
    kept = np.load(run.directory.scores / "test.npz")
    logits = kept["logits"].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    paths = [colours / name for name in kept["paths"]]
    model = veduta.load(run.directory.path)
    for size in (1, 5, len(paths)):
        parts = [
            model.predict(paths[start : start + size], top_k=3)
            for start in range(0, len(paths), size)
        ]
        table = pd.concat(parts, ignore_index=True)
        assert list(table["label"]) == [model.classes[i] for i in logits.argmax(1)]
        got = np.zeros_like(expected)
        for place in ("", "_2", "_3"):
            columns = [model.classes.index(label) for label in table[f"label{place}"]]
            got[np.arange(len(got)), columns] = table[f"probability{place}"]
        assert abs(got - expected).max() < 1e-5


def test_refit_opens_the_test_for_that_model_only(colours: Path, tmp_path: Path) -> None:
    run = search(colours, tmp_path / "run", refit=True)
    assert [e["event"] for e in read_journal(run.directory.journal)].count("test opened") == 1
    assert run.summary["winner"]["refit"] is True


def test_a_trial_that_explodes_is_recorded_and_the_search_goes_on(
    colours: Path, tmp_path: Path
) -> None:
    run = search(colours, tmp_path / "run", {"lr": [1e-2, 1e38, 1e300]}, optimizer="sgd")
    assert list(run.trials["status"]) == ["finished", "failed", "failed"]
    assert run.summary["failed"] == 2
    assert run.summary["winner"]["trial"] == run.trials["trial"][0]
    with pytest.raises(VedutaError, match="all failed"):
        search(colours, tmp_path / "none", {"lr": [1e38, 2e38]}, optimizer="sgd")
    assert list(pd.read_csv(tmp_path / "none" / "trials.csv")["status"]) == ["failed", "failed"]


def test_two_image_sizes_in_one_grid(colours: Path, tmp_path: Path) -> None:
    settings = {name: value for name, value in SMALL.items() if name != "image_size"}
    run = veduta.search(colours, grid={"image_size": [32, 40]}, out=tmp_path / "run", **settings)
    alone = search(colours, tmp_path / "alone", {"lr": [1e-3]}, image_size=40)
    both = run.trials.set_index("trial")["val_loss"]
    name = alone.trials["trial"][0]
    assert both[name] == alone.trials["val_loss"][0]
    assert len(both) == 2


def test_a_runs_config_replays_it(found: Run, colours: Path, tmp_path: Path) -> None:
    again = veduta.search(
        colours, grid={}, config=found.directory.config, out=tmp_path / "again",
        console=Console(quiet=True),
    )  # fmt: skip
    assert untimed(again.directory.trials) == untimed(found.directory.trials)


def test_a_config_can_be_varied(found: Run, colours: Path, tmp_path: Path) -> None:
    again = veduta.search(
        colours, grid={"batch_size": [16]}, lr=1e-2, dropout=0.3, config=found.directory.config,
        out=tmp_path / "again", console=Console(quiet=True),
    )  # fmt: skip
    row = again.trials.iloc[0]
    assert (len(again.trials), row["batch_size"], row["lr"], row["epochs"]) == (1, 16, 1e-2, 3)


def test_a_grid_over_models_replays_with_their_own_sizes(colours: Path, tmp_path: Path) -> None:
    grid = {"model": ["efficientnet_lite0", "efficientnet_lite1"]}
    quick = {"epochs": 1, "engine": "openvino", "console": QUIET}
    first = veduta.search(colours, grid=grid, out=tmp_path / "first", **quick)
    again = veduta.search(
        colours, grid={}, config=first.directory.config, out=tmp_path / "again", **quick
    )
    assert list(first.trials["image_size"]) == [224, 240]
    assert list(again.trials["trial"]) == list(first.trials["trial"])


def test_an_interruption_leaves_tables_and_passes_on(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("veduta.experiment.feature_pipeline.load_views", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search(colours, tmp_path / "run")
    assert len(pd.read_csv(tmp_path / "run" / "trials.csv")) == 0
    assert read_journal(tmp_path / "run" / "journal.jsonl")[0]["event"] == "start"


def test_a_full_disk_is_told_in_one_line(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("veduta.runs.artifact.write_atomically", full)
    with pytest.raises(VedutaError, match=r"have room.*No space left"):
        search(colours, tmp_path / "run")
    assert not [path for path in (tmp_path / "run").iterdir() if "model" in path.name]


def test_a_file_that_goes_during_a_run_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "data", 8)
    console = Console(quiet=True)
    gone = tmp_path / "data" / "red" / "003.png"

    def go(text: str) -> None:
        gone.unlink(missing_ok=True)

    console.say = go  # type: ignore[method-assign]
    with pytest.raises(VedutaError, match=r"red/003\.png.*went"):
        veduta.search(
            tmp_path / "data", grid={"image_size": [32, 40]}, epochs=1, engine="torch",
            out=tmp_path / "run", console=console,
        )  # fmt: skip


def test_nothing_of_the_users_is_changed(
    colours: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    before = tree(colours)
    search(colours, tmp_path / "run")
    assert tree(colours) == before


def test_model_file_holds_what_predict_needs(found: Run) -> None:
    manifest = json.loads((found.directory.model / "model.json").read_text())
    assert manifest["classes"] == ["blue", "green", "red"]
    assert manifest["engine"] == "torch"
    assert manifest["files"][0]["sha256"]
