"""Resume: a run that was killed at any moment ends as if it had not been, and takes more cells."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import save_file

import veduta
from tests.conftest import paint
from tests.experiment.test_run import untimed
from veduta.errors import InputError
from veduta.networks.backbones import build_backbone
from veduta.results.run import Run
from veduta.runs.journal import Journal, encode, read_journal
from veduta.tracking.console import Console

GRID = {"lr": [3e-3, 1e-2], "dropout": [0.0, 0.3], "batch_size": [8, 16]}  # two groups of four
SMALL = {"image_size": 32, "weights": "none", "epochs": 12, "engine": "torch"}
QUIET = Console(quiet=True)
TIMES = ("seconds", "resumed", "reused", "computed", "engine_check")


def search(data: Path, out: Path, grid: dict[str, list[Any]] = GRID, **more: Any) -> Run:
    return veduta.search(data, grid=grid, out=out, console=QUIET, **{**SMALL, **more})


def resume(path: Path, data: Path | None = None, **more: Any) -> Run:
    return veduta.search(data, resume=path, **{"console": QUIET, **more})


def figures(run: Run) -> dict[str, Any]:
    """summary.json without what is timing, or a count of other runs."""
    kept = {name: value for name, value in run.summary.items() if name not in TIMES}
    test = {name: value for name, value in kept["test"].items() if name != "opened_before"}
    return {**kept, "test": test}


def expect_same(run: Run, whole: Run, *, opened: int = 1) -> None:
    for name in ("trials", "epochs"):
        assert untimed(getattr(run.directory, name)) == untimed(getattr(whole.directory, name))
    one, other = (one.directory.model / "model.safetensors" for one in (run, whole))
    assert one.read_bytes() == other.read_bytes()
    expected = figures(whole)
    expected["test"]["opened"] = opened
    assert figures(run) == expected
    winner = run.summary["winner"]
    pictured = winner["trial"] if winner["hyper_parameters"]["freeze"] != "all" else ""
    for trial in run.directory.tensorboard.iterdir():
        files = 1 + (trial.name == pictured)  # a trained network has pictures besides
        assert len(list(trial.iterdir())) == files, "the curves of one attempt only"
    assert {path.name for path in run.directory.path.iterdir()} == {
        path.name for path in whole.directory.path.iterdir()
    }
    assert {path.name for path in run.directory.scores.iterdir()} == {
        path.name for path in whole.directory.scores.iterdir()
    }


@pytest.fixture(scope="module")
def whole(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted. Not to be changed by a test."""
    return search(colours, tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def finished(whole: Run, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole.directory.path, tmp_path / "run"))


def kill_when(seen: Callable[[list[bytes]], bool], journal: Path, *words: str) -> int:
    """Start a search on the command line; kill -9 as soon as its journal is as `seen` says."""
    command = [sys.executable, "-m", "veduta.cli.main", "search", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        while child.poll() is None:
            if journal.is_file() and seen(journal.read_bytes().splitlines()):
                child.kill()
            time.sleep(0.001)
    return child.returncode


def words_of(data: Path, out: Path, **more: Any) -> list[str]:
    grid = [f"{name}={','.join(map(str, values))}" for name, values in GRID.items()]
    settings = {**SMALL, **more}
    return [
        str(data), "--out", str(out), *(word for one in grid for word in ("--grid", one)),
        *(word for n, v in settings.items() for word in (f"--{n.replace('_', '-')}", str(v))),
    ]  # fmt: skip


def count(lines: list[bytes], event: str) -> int:
    return sum(line.startswith(f'{{"event":"{event}"'.encode()) for line in lines)


@pytest.mark.parametrize(
    ("event", "number"), [("start", 1), ("epoch", 9), ("trial finished", 5), ("selected", 1)]
)
def test_a_run_killed_goes_on_to_the_same_end(
    whole: Run, colours: Path, tmp_path: Path, event: str, number: int
) -> None:
    out = tmp_path / "run"
    code = kill_when(
        lambda lines: count(lines, event) >= number,
        out / "journal.jsonl",
        *words_of(colours, out),
    )
    assert code == -9, "the search ended before it could be killed"
    assert not (out / "summary.json").exists()
    run = resume(out)
    assert run.summary["resumed"] == 1
    expect_same(run, whole)


def test_a_run_killed_twice_the_features_first(tmp_path: Path, colours: Path) -> None:
    out, size = tmp_path / "run", {"image_size": 40}  # features that nothing has made yet
    words = words_of(colours, out, **size)
    code = kill_when(lambda lines: len(lines) == 1, out / "journal.jsonl", *words)
    assert code == -9
    assert {e["event"] for e in read_journal(out / "journal.jsonl")} <= {"start", "lists"}
    with (out / "journal.jsonl").open("ab") as file:
        file.write(encode({"event": "plan", "trials": []})[:20])  # torn
    code = kill_when(
        lambda lines: count(lines, "epoch") > 30, out / "journal.jsonl", "--resume", str(out)
    )
    assert code == -9
    expect_same(resume(out), search(colours, tmp_path / "whole", **size))


def cut(path: Path, until: Callable[[list[dict[str, Any]]], bool]) -> None:
    """Leave of a journal what had been written when `until` came true first."""
    journal = path / "journal.jsonl"
    events = read_journal(journal)
    number = next(n for n in range(1, len(events) + 1) if until(events[:n]))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:number]))


def last(event: str, number: int = 1) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda events: [one["event"] for one in events].count(event) == number


@pytest.mark.parametrize(
    ("until", "gone", "opened"),
    [
        (last("tiles"), ["summary.json", "model"], 1),
        (last("tiles", 2), ["summary.json", "model", "tensorboard", "trials.csv"], 1),
        (last("trial finished", 3), ["summary.json", "config.yaml"], 1),
        (last("selected"), ["summary.json", "epochs.csv", "trials.csv"], 1),
        (last("test opened"), ["summary.json", "model"], 1),
        (last("test opened"), ["summary.json", "model", "scores/test.npz"], 2),
        (last("end"), ["summary.json"], 1),
    ],
)
def test_each_step_is_taken_once_or_again(
    whole: Run,
    finished: Path,
    until: Callable[[list[dict[str, Any]]], bool],
    gone: list[str],
    opened: int,
) -> None:
    cut(finished, until)
    for name in gone:
        path = finished / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (finished / ".model.abcd1234").mkdir()
    (finished / "scores" / f".{whole.summary['winner']['trial']}.npz.abcd1234").write_bytes(b"half")
    run = resume(finished)
    expect_same(run, whole, opened=opened)


@pytest.mark.parametrize(
    "settings",
    [{"hidden": 8, "batch_norm": True}, {"freeze": 7}, {"folds": 3}, {"views": 2, "tta": "flip"}],
)
def test_every_kind_of_run_goes_on(colours: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    runs = [
        search(colours, tmp_path / name, {"lr": [1e-3, 1e-2]}, epochs=2, **settings)
        for name in ("whole", "run")
    ]
    cut(tmp_path / "run", last("selected"))
    shutil.rmtree(tmp_path / "run" / "model")
    expect_same(resume(tmp_path / "run"), runs[0])
    started = [e for e in read_journal(tmp_path / "run" / "journal.jsonl") if "parameters" in e]
    assert len(started) == 2  # taken over, not run again


def test_trials_that_ended_are_not_run_again(whole: Run, finished: Path) -> None:
    cut(finished, last("tiles", 2))
    resume(finished)
    started = [e["trial"] for e in read_journal(finished / "journal.jsonl") if "parameters" in e]
    assert len(started) == len(set(started)) == 8


@pytest.mark.parametrize("damage", ["scores", "weights", "altered weights"])
def test_what_does_not_read_back_is_run_again(whole: Run, finished: Path, damage: str) -> None:
    cut(finished, last("selected"))
    winner = whole.summary["winner"]["trial"]
    if damage == "scores":
        path = finished / "scores" / f"{winner}.npz"
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path = finished / "scores" / f"{winner}.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data) if damage.startswith("altered") else path.unlink()
    run = resume(finished)
    expect_same(run, whole)
    started = [e["trial"] for e in read_journal(finished / "journal.jsonl") if "parameters" in e]
    assert started.count(winner) == 2


def test_a8_a_finished_run_has_nothing_to_do(
    finished: Path, colours: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    before = tree(finished)
    resume(finished)
    resume(finished, colours, grid={"lr": [1e-2]}, epochs=12, seed=0)  # what it has already
    assert tree(finished) == before


@pytest.mark.parametrize("gone", ["model", "model/model.safetensors", "trials.csv", "epochs.csv"])
def test_what_a_finished_run_lost_is_made_again(whole: Run, finished: Path, gone: str) -> None:
    path = finished / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    expect_same(resume(finished), whole)
    started = [e for e in read_journal(finished / "journal.jsonl") if "parameters" in e]
    assert len(started) == 8  # no trial was run again


def test_a8_more_cells_leave_the_rows_of_the_others(finished: Path) -> None:
    before = finished.joinpath("trials.csv").read_text().splitlines()
    run = resume(finished, grid={"lr": "3e-2", "patience": [5]})
    after = finished.joinpath("trials.csv").read_text().splitlines()
    assert len(after) - 1 == len(run.trials) == 3 * 2 * 2 * 2
    tied = before[0].split(",").index("tied")

    def rest(line: str) -> str:
        return ",".join(np.delete(line.split(","), tied))  # who ties is asked anew

    assert set(map(rest, before)) <= set(map(rest, after))
    assert run.summary["validation"]["accuracy"] == run.trials["val_accuracy"].max()
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["grid"]["lr"] == [3e-3, 1e-2, 3e-2]
    assert config["grid"]["patience"] == [None, 5]
    assert "patience" not in config
    assert run.summary["test"]["opened"] == 2


def test_more_cells_open_the_test_again_whoever_wins(colours: Path, tmp_path: Path) -> None:
    first = search(colours, tmp_path / "run", {"lr": [1e-9, 1e-8]}).summary["winner"]["trial"]
    better = resume(tmp_path / "run", grid={"lr": [1e-2]})
    assert better.summary["winner"]["trial"] != first
    assert better.summary["test"]["opened"] == 2
    assert better.summary["test"]["accuracy"] == score_of(better)
    assert veduta.load(tmp_path / "run").predict(colours).shape == (60, 3)
    assert len(better.trials) == 3
    same = resume(tmp_path / "run", grid={"lr": [1e-10]})
    assert len(same.trials) == 4
    assert same.summary["winner"]["trial"] == better.summary["winner"]["trial"]
    assert same.summary["test"]["opened"] == 3
    assert same.summary["test"]["accuracy"] == better.summary["test"]["accuracy"]


def score_of(run: Run) -> float:
    with np.load(run.directory.test) as kept:
        return float((kept["logits"].argmax(1) == kept["truth"]).mean())


def test_an_extension_is_the_same_whenever_the_run_was_killed(whole: Run, tmp_path: Path) -> None:
    runs = []
    for name, until in (("late", last("end")), ("early", last("trial finished", 3))):
        path = Path(shutil.copytree(whole.directory.path, tmp_path / name))
        cut(path, until)
        runs.append(resume(path, grid={"lr": [3e-2]}))
    late, early = runs
    assert untimed(early.directory.trials) == untimed(late.directory.trials)
    assert untimed(early.directory.epochs) == untimed(late.directory.epochs)


def change_added(data: Path) -> None:
    shutil.copy(data / "red" / "000.png", data / "red" / "new.png")


def change_gone(data: Path) -> None:
    (data / "red" / "003.png").unlink()


def change_changed(data: Path) -> None:
    shutil.copy(data / "blue" / "000.png", data / "blue" / "001.png")


def change_relabelled(data: Path) -> None:
    (data / "red" / "003.png").rename(data / "blue" / "003b.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_added, "1 added ('red/new.png')"),
        (change_gone, "1 gone or unreadable ('red/003.png')"),
        (change_changed, "1 changed ('blue/001.png')"),
        (change_relabelled, "1 added ('blue/003b.png'), 1 gone or unreadable ('red/003.png')"),
    ],
)
def test_a7_other_images_are_refused(
    finished: Path,
    colours: Path,
    tmp_path: Path,
    tree: Callable[[Path], dict[str, bytes]],
    change: Callable[[Path], None],
    words: str,
) -> None:
    data = Path(shutil.copytree(colours, tmp_path / "data"))
    change(data)
    before = tree(finished)
    with pytest.raises(InputError, match="images that it began with") as caught:
        resume(finished, data)
    assert words in str(caught.value)
    with pytest.raises(InputError, match="images that it began with"):
        resume(finished, data, grid={"lr": [3e-2]})
    assert tree(finished) == before


def test_a7_images_that_moved_to_another_split_are_refused(
    split_colours: Path, tmp_path: Path
) -> None:
    search(split_colours, tmp_path / "run", {"lr": [1e-2]}, epochs=1)
    (split_colours / "train" / "red" / "003.png").rename(split_colours / "test" / "red" / "x.png")
    with pytest.raises(InputError, match=r"1 added \('test/red/x.png'\)"):
        resume(tmp_path / "run", grid={"lr": [3e-2]})


def test_renamed_images_are_the_same_images(
    whole: Run, finished: Path, colours: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(colours, tmp_path / "data"))
    (data / "red" / "003.png").rename(data / "red" / "renamed.png")
    cut(finished, last("tiles", 2))
    expect_same(resume(finished, data), whole)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": 1}, "seed was 0, now it is 1"),
        ({"epochs": 5}, "epochs was 12, now it is 5"),
        ({"lr": 1.0}, "lr was 0.003 and 0.01, now it is 1.0"),
        ({"grid": {"seed": [1]}}, "seed holds for the whole run"),
        ({"grid": {"lr": ["fast"]}, "epochz": 3}, "did you mean 'epochs'"),
        ({"out": "elsewhere"}, "stays where it is"),
    ],
)
def test_a7_other_settings_are_refused(finished: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        resume(finished, **given)
    assert words in str(caught.value)


def test_a_grid_is_the_cure_only_where_one_may_be(finished: Path) -> None:
    with pytest.raises(InputError) as caught:
        resume(finished, tta="flip", epochs=5)
    epochs, tta = sorted(caught.value.faults)
    assert epochs.endswith("leave it out, start a new run, or add it with --grid epochs=5")
    assert tta.endswith("now it is flip: leave it out, start a new run")


def test_a_run_killed_for_its_memory_goes_on_with_less(whole: Run, finished: Path) -> None:
    cut(finished, last("trial finished", 3))
    run = resume(finished, memory="1MB")
    assert yaml.safe_load(run.directory.config.read_text())["memory"] == "1MB"
    expect_same(run, whole)
    cut(finished, last("selected"))
    resume(finished)  # the amount that was given last is not an edit
    events = read_journal(finished / "journal.jsonl")
    allowed = [event["allowed"] for event in events if event["event"] == "residency"]
    assert allowed[-2:] == [10**6, 10**6]


def test_weights_of_trials_that_were_the_best_for_a_while_go(whole: Run, finished: Path) -> None:
    cut(finished, last("trial finished", 8))  # killed before they were removed
    (winner,) = (finished / "scores").glob("*.safetensors")
    shutil.copy(winner, winner.with_name("t000000000.safetensors"))
    expect_same(resume(finished), whole)


def test_a7_other_weights_are_refused(colours: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"

    def write(scale: float) -> None:
        network = build_backbone("efficientnet_lite0", "none", cache=tmp_path).network
        state = network.state_dict()
        state["conv_stem.weight"] = state["conv_stem.weight"] * scale
        save_file(state, weights)

    write(1.0)
    given = {**SMALL, "epochs": 1, "weights": str(weights), "freeze": 7}
    veduta.search(colours, grid={"lr": [1e-2]}, out=tmp_path / "run", console=QUIET, **given)
    write(1.5)
    with pytest.raises(InputError, match=f"weights that it began with; those of .*{weights.name}"):
        resume(tmp_path / "run", grid={"lr": [3e-2]})
    write(1.0)
    assert len(resume(tmp_path / "run", grid={"lr": [3e-2]}).trials) == 2


def test_a7_what_is_no_run_is_refused(finished: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match=r"which has a journal\.jsonl"):
            resume(path)
    (tmp_path / "journal.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="that had begun"):
        resume(tmp_path)
    with pytest.raises(InputError, match="is a search: call search"):
        veduta.train(resume=finished)
    config = finished / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 12", "epochs: 13"))
    with pytest.raises(InputError, match="epochs was edited"):
        resume(finished)
    with pytest.raises(InputError, match="search needs a folder"):
        veduta.search(grid=GRID)


def test_a9_a_run_that_is_written_is_refused(finished: Path) -> None:
    live = pytest.raises(InputError, match=f"being written by process {os.getpid()}")
    with Journal.reopened(finished / "journal.jsonl"), live:
        resume(finished)
    resume(finished)


def test_a7_other_versions_are_named(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cut(finished, last("selected"))
    monkeypatch.setattr("veduta.experiment.record.versions", lambda: {"torch": "0.1"})
    resume(finished)
    assert "versions differ" in (told := capfd.readouterr().err)
    assert "-> 0.1" in told


def test_a_training_goes_on_and_becomes_a_search(colours: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "epochs": 2, "refit": True}
    first = figures(veduta.train(colours, out=tmp_path / "run", console=QUIET, **settings))
    weights = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    cut(tmp_path / "run", last("selected"))
    (tmp_path / "run" / "scores" / "test.npz").unlink()
    shutil.rmtree(tmp_path / "run" / "model")
    assert figures(veduta.train(resume=tmp_path / "run", console=QUIET)) == first
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == weights
    more = resume(tmp_path / "run", grid={"lr": [3e-2]})
    assert list(more.trials["lr"]) == [1e-3, 3e-2]
    assert pd.read_csv(tmp_path / "run" / "splits.csv")["split"].nunique() == 3


def test_a_folder_that_moved_is_given_anew(
    whole: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "data", 20)
    monkeypatch.chdir(tmp_path)
    cut(finished, last("selected"))
    expect_same(resume(finished, Path("data")), whole)


def test_images_that_are_gone_and_not_given_anew_are_missed(colours: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(colours, tmp_path / "data"))
    search(data, tmp_path / "run", {"lr": [1e-2]}, epochs=1)
    data.rename(tmp_path / "moved")
    with pytest.raises(InputError) as caught:
        resume(tmp_path / "run", grid={"lr": [3e-2]}, seed=1)
    seed, where = caught.value.faults
    assert "seed was 0" in seed
    assert f"{data} is not there any more: say where they are now, as in veduta search" in where
