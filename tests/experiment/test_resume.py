"""Resume: a run that was killed at any moment ends as if it had not been, and can be extended."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import save_file

import veduta
from tests.support.datasets import write_color_folders
from tests.support.resuming import (
    GRID,
    HEAD_SETTINGS,
    assert_same_run,
    cut_journal,
    find_events,
    has_events,
    read_untimed,
    resume_search,
    search_heads,
    summarize,
)
from tests.support.runs import QUIET
from veduta.errors import InputError
from veduta.networks.backbones import build_backbone
from veduta.results.run import Run
from veduta.runs.events import (
    EpochFinished,
    Event,
    ImageListsWritten,
    JournalEvent,
    MemoryPlanned,
    RunFinished,
    RunStarted,
    SearchPlanned,
    TestEvaluated,
    TilesPlanned,
    TrialFinished,
    TrialStarted,
    WinnerSelected,
)
from veduta.runs.journal import Journal, encode_event, read_journal
from veduta.runs.scores import load_test_scores


@pytest.fixture(scope="module")
def whole(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was not interrupted. Not to be changed by a test."""
    return search_heads(color_folder, tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def finished(whole: Run, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole.directory.path, tmp_path / "run"))


def kill_when(condition: Callable[[list[bytes]], bool], journal: Path, *words: str) -> int:
    """Start a search on the command line; kill -9 it as soon as its journal meets a condition."""
    command = [sys.executable, "-m", "veduta.cli.main", "search", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        while child.poll() is None:
            if journal.is_file() and condition(journal.read_bytes().splitlines()):
                child.kill()
            time.sleep(0.001)
    return child.returncode


def build_command(data: Path, out: Path, **more: Any) -> list[str]:
    """Return the words of the command that searches `GRID`."""
    grid = [f"{name}={','.join(map(str, values))}" for name, values in GRID.items()]
    settings: dict[str, Any] = {**HEAD_SETTINGS, **more}
    return [
        str(data), "--out", str(out), *(word for cell in grid for word in ("--grid", cell)),
        *(word for n, v in settings.items() for word in (f"--{n.replace('_', '-')}", str(v))),
    ]  # fmt: skip


def count_lines(lines: list[bytes], kind: type[JournalEvent]) -> int:
    """Return the number of journal lines of a class of events."""
    name = kind.model_fields["event"].default
    return sum(line.startswith(f'{{"event":"{name}"'.encode()) for line in lines)


@pytest.mark.parametrize(
    ("kind", "number"),
    [(RunStarted, 1), (EpochFinished, 9), (TrialFinished, 5), (WinnerSelected, 1)],
)
def test_a_killed_run_ends_as_if_it_had_not_been(
    whole: Run, color_folder: Path, tmp_path: Path, kind: type[JournalEvent], number: int
) -> None:
    out = tmp_path / "run"
    code = kill_when(
        lambda lines: count_lines(lines, kind) >= number,
        out / "journal.jsonl",
        *build_command(color_folder, out),
    )
    assert code == -9, "the search ended before it could be killed"
    assert not (out / "summary.json").exists()
    run = resume_search(out)
    assert run.summary.resume_count == 1
    assert_same_run(run, whole)


def test_a_run_may_be_killed_twice(tmp_path: Path, color_folder: Path) -> None:
    """First while it computes features, then while it trains; the last line is incomplete, too."""
    out = tmp_path / "run"
    size: dict[str, Any] = {"image_size": 40}  # features that are not in the cache
    words = build_command(color_folder, out, **size)
    code = kill_when(lambda lines: len(lines) == 1, out / "journal.jsonl", *words)
    assert code == -9
    kinds = {type(event) for event in read_journal(out / "journal.jsonl")}
    assert kinds <= {RunStarted, ImageListsWritten}
    with (out / "journal.jsonl").open("ab") as file:
        file.write(encode_event(SearchPlanned(trials=[], groups=[]))[:20])
    code = kill_when(
        lambda lines: count_lines(lines, EpochFinished) > 30,
        out / "journal.jsonl",
        "--resume",
        str(out),
    )
    assert code == -9
    assert_same_run(resume_search(out), search_heads(color_folder, tmp_path / "whole", **size))


@pytest.mark.parametrize(
    ("condition", "removed", "evaluations"),
    [
        (has_events(TilesPlanned), ["summary.json", "model"], 1),
        (has_events(TilesPlanned, 2), ["summary.json", "model", "tensorboard", "trials.csv"], 1),
        (has_events(TrialFinished, 3), ["summary.json", "config.yaml"], 1),
        (has_events(WinnerSelected), ["summary.json", "epochs.csv", "trials.csv"], 1),
        (has_events(TestEvaluated), ["summary.json", "model"], 1),
        (has_events(TestEvaluated), ["summary.json", "model", "scores/test.npz"], 2),
        (has_events(RunFinished), ["summary.json"], 1),
    ],
)
def test_a_run_is_resumed_after_each_step(
    whole: Run,
    finished: Path,
    condition: Callable[[Sequence[Event]], bool],
    removed: list[str],
    evaluations: int,
) -> None:
    cut_journal(finished, condition)
    for name in removed:
        path = finished / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (finished / ".model.abcd1234").mkdir()
    (finished / "scores" / f".{whole.summary.winner.trial}.npz.abcd1234").write_bytes(b"half")
    run = resume_search(finished)
    assert_same_run(run, whole, evaluations=evaluations)


@pytest.mark.parametrize(
    "settings",
    [{"hidden": 8, "batch_norm": True}, {"freeze": 7}, {"folds": 3}, {"views": 2, "tta": "flip"}],
)
def test_every_kind_of_run_can_be_resumed(
    color_folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    runs = [
        search_heads(color_folder, tmp_path / name, {"lr": [1e-3, 1e-2]}, epochs=2, **settings)
        for name in ("whole", "run")
    ]
    cut_journal(tmp_path / "run", has_events(WinnerSelected))
    shutil.rmtree(tmp_path / "run" / "model")
    assert_same_run(resume_search(tmp_path / "run"), runs[0])
    started = find_events(tmp_path / "run", TrialStarted)
    assert len(started) == 2  # taken over, not run again


def test_trials_that_ended_are_not_run_again(whole: Run, finished: Path) -> None:
    cut_journal(finished, has_events(TilesPlanned, 2))
    resume_search(finished)
    started = [event.trial for event in find_events(finished, TrialStarted)]
    assert len(started) == len(set(started)) == 8


@pytest.mark.parametrize("damage", ["scores", "weights", "altered weights"])
def test_a_trial_with_damaged_files_is_run_again(whole: Run, finished: Path, damage: str) -> None:
    cut_journal(finished, has_events(WinnerSelected))
    winner = whole.summary.winner.trial
    if damage == "scores":
        path = finished / "scores" / f"{winner}.npz"
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path = finished / "scores" / f"{winner}.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data) if damage.startswith("altered") else path.unlink()
    run = resume_search(finished)
    assert_same_run(run, whole)
    started = [event.trial for event in find_events(finished, TrialStarted)]
    assert started.count(winner) == 2


def test_a_finished_run_is_not_changed(
    finished: Path, color_folder: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    before = tree(finished)
    resume_search(finished)
    resume_search(
        finished, color_folder, grid={"lr": [1e-2]}, epochs=12, seed=0
    )  # values that it has
    assert tree(finished) == before


@pytest.mark.parametrize(
    "missing", ["model", "model/model.safetensors", "trials.csv", "epochs.csv"]
)
def test_missing_files_of_a_finished_run_are_restored(
    whole: Run, finished: Path, missing: str
) -> None:
    path = finished / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert_same_run(resume_search(finished), whole)
    started = find_events(finished, TrialStarted)
    assert len(started) == 8  # no trial was run again


def test_new_cells_do_not_change_the_rows_of_others(finished: Path) -> None:
    before = finished.joinpath("trials.csv").read_text().splitlines()
    run = resume_search(finished, grid={"lr": "3e-2", "patience": [5]})
    after = finished.joinpath("trials.csv").read_text().splitlines()
    assert len(after) - 1 == len(run.trials) == 3 * 2 * 2 * 2
    tied = before[0].split(",").index("tied")

    def drop_tied(line: str) -> str:
        return ",".join(np.delete(line.split(","), tied))  # ties depend on the winner

    assert set(map(drop_tied, before)) <= set(map(drop_tied, after))
    assert run.summary.validation_accuracy.value == run.trials["val_accuracy"].max()
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["grid"]["lr"] == [3e-3, 1e-2, 3e-2]
    assert config["grid"]["patience"] == [None, 5]
    assert "patience" not in config
    assert run.summary.test.evaluations == 2


def test_every_extension_evaluates_the_test_set_again(color_folder: Path, tmp_path: Path) -> None:
    first = search_heads(color_folder, tmp_path / "run", {"lr": [1e-9, 1e-8]}).summary.winner.trial
    better = resume_search(tmp_path / "run", grid={"lr": [1e-2]})
    assert better.summary.winner.trial != first
    assert better.summary.test.evaluations == 2
    assert better.summary.test.accuracy.value == compute_test_accuracy(better)
    assert veduta.load(tmp_path / "run").predict(color_folder).shape == (60, 3)
    assert len(better.trials) == 3
    same = resume_search(tmp_path / "run", grid={"lr": [1e-10]})
    assert len(same.trials) == 4
    assert same.summary.winner.trial == better.summary.winner.trial
    assert same.summary.test.evaluations == 3
    assert same.summary.test.accuracy == better.summary.test.accuracy


def compute_test_accuracy(run: Run) -> float:
    scores = load_test_scores(run.directory.test_scores)
    return float((scores.logits.argmax(1) == scores.y_true).mean())


def test_an_extension_is_the_same_whenever_the_run_was_killed(whole: Run, tmp_path: Path) -> None:
    runs = []
    for name, condition in (
        ("late", has_events(RunFinished)),
        ("early", has_events(TrialFinished, 3)),
    ):
        path = Path(shutil.copytree(whole.directory.path, tmp_path / name))
        cut_journal(path, condition)
        runs.append(resume_search(path, grid={"lr": [3e-2]}))
    late, early = runs
    assert read_untimed(early.directory.trials) == read_untimed(late.directory.trials)
    assert read_untimed(early.directory.epochs) == read_untimed(late.directory.epochs)


def add_image(data: Path) -> None:
    shutil.copy(data / "red" / "000.png", data / "red" / "new.png")


def remove_image(data: Path) -> None:
    (data / "red" / "003.png").unlink()


def change_image(data: Path) -> None:
    shutil.copy(data / "blue" / "000.png", data / "blue" / "001.png")


def relabel_image(data: Path) -> None:
    (data / "red" / "003.png").rename(data / "blue" / "003b.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_image, "1 added ('red/new.png')"),
        (remove_image, "1 missing or unreadable ('red/003.png')"),
        (change_image, "1 changed ('blue/001.png')"),
        (relabel_image, "1 added ('blue/003b.png'), 1 missing or unreadable ('red/003.png')"),
    ],
)
def test_other_images_are_refused(
    finished: Path,
    color_folder: Path,
    tmp_path: Path,
    tree: Callable[[Path], dict[str, bytes]],
    change: Callable[[Path], None],
    message: str,
) -> None:
    data = Path(shutil.copytree(color_folder, tmp_path / "data"))
    change(data)
    before = tree(finished)
    with pytest.raises(InputError, match="images with which it was started") as caught:
        resume_search(finished, data)
    assert message in str(caught.value)
    with pytest.raises(InputError, match="images with which it was started"):
        resume_search(finished, data, grid={"lr": [3e-2]})
    assert tree(finished) == before


def test_images_in_another_split_are_refused(split_folder: Path, tmp_path: Path) -> None:
    search_heads(split_folder, tmp_path / "run", {"lr": [1e-2]}, epochs=1)
    (split_folder / "train" / "red" / "003.png").rename(split_folder / "test" / "red" / "x.png")
    with pytest.raises(InputError, match=r"1 added \('test/red/x.png'\)"):
        resume_search(tmp_path / "run", grid={"lr": [3e-2]})


def test_renamed_images_are_accepted(
    whole: Run, finished: Path, color_folder: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(color_folder, tmp_path / "data"))
    (data / "red" / "003.png").rename(data / "red" / "renamed.png")
    cut_journal(finished, has_events(TilesPlanned, 2))
    assert_same_run(resume_search(finished, data), whole)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 1}, "seed was 0, now it is 1"),
        ({"epochs": 5}, "epochs was 12, now it is 5"),
        ({"lr": 1.0}, "lr was 0.003 and 0.01, now it is 1.0"),
        ({"grid": {"seed": [1]}}, "seed"),
        ({"grid": {"lr": ["fast"]}, "epochz": 3}, "did you mean 'epochs'"),
        ({"out": "elsewhere"}, "keeps its directory"),
    ],
)
def test_other_settings_are_refused(finished: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        resume_search(finished, **values)
    assert message in str(caught.value)


def test_a_grid_is_suggested_for_hyperparameters_only(finished: Path) -> None:
    with pytest.raises(InputError) as caught:
        resume_search(finished, tta="flip", epochs=5)
    epochs, tta = sorted(caught.value.faults)
    assert epochs.endswith("leave it out, start a new run, or add it with --grid epochs=5")
    assert tta.endswith("now it is flip: leave it out, start a new run")


def test_a_run_can_be_resumed_with_less_memory(whole: Run, finished: Path) -> None:
    cut_journal(finished, has_events(TrialFinished, 3))
    run = resume_search(finished, memory="1MB")
    assert yaml.safe_load(run.directory.config.read_text())["memory"] == "1MB"
    assert_same_run(run, whole)
    cut_journal(finished, has_events(WinnerSelected))
    resume_search(finished)  # the changed limit in config.yaml is not an edit
    allowed = [event.allowed for event in find_events(finished, MemoryPlanned)]
    assert allowed[-2:] == [10**6, 10**6]


def test_weights_of_former_best_trials_are_removed(whole: Run, finished: Path) -> None:
    cut_journal(finished, has_events(TrialFinished, 8))  # killed before they were removed
    (winner,) = (finished / "scores").glob("*.safetensors")
    shutil.copy(winner, winner.with_name("t000000000.safetensors"))
    assert_same_run(resume_search(finished), whole)


def test_other_weights_are_refused(color_folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"

    def write(scale: float) -> None:
        network = build_backbone("efficientnet_lite0", "none", cache=tmp_path).network
        state = network.state_dict()
        state["conv_stem.weight"] = state["conv_stem.weight"] * scale
        save_file(state, weights)

    write(1.0)
    given: dict[str, Any] = {**HEAD_SETTINGS, "epochs": 1, "weights": str(weights), "freeze": 7}
    veduta.search(color_folder, grid={"lr": [1e-2]}, out=tmp_path / "run", console=QUIET, **given)
    write(1.5)
    with pytest.raises(InputError, match=f"weights with which it was started; .*{weights.name}"):
        resume_search(tmp_path / "run", grid={"lr": [3e-2]})
    write(1.0)
    assert len(resume_search(tmp_path / "run", grid={"lr": [3e-2]}).trials) == 2


def test_a_directory_without_a_run_is_refused(finished: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match=r"which has a journal\.jsonl"):
            resume_search(path)
    (tmp_path / "journal.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="begins with run_started"):
        resume_search(tmp_path)
    with pytest.raises(InputError, match="is a search: call search"):
        veduta.train(resume=finished)
    config = finished / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 12", "epochs: 13"))
    with pytest.raises(InputError, match="epochs was edited"):
        resume_search(finished)
    with pytest.raises(InputError, match="search needs a folder"):
        veduta.search(grid=GRID)


def test_a_run_that_another_process_writes_is_refused(finished: Path) -> None:
    live = pytest.raises(InputError, match=f"being written by process {os.getpid()}")
    with Journal.reopen(finished / "journal.jsonl"), live:
        resume_search(finished)
    resume_search(finished)


def test_different_versions_are_warned_about(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cut_journal(finished, has_events(WinnerSelected))
    monkeypatch.setattr("veduta.experiment.run_files.list_versions", lambda: {"torch": "0.1"})
    resume_search(finished)
    output = capfd.readouterr().err
    assert "versions differ" in output
    assert "-> 0.1" in output


def test_a_training_can_be_extended_to_a_search(color_folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {**HEAD_SETTINGS, "epochs": 2, "refit": True}
    first = summarize(veduta.train(color_folder, out=tmp_path / "run", console=QUIET, **settings))
    weights = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    cut_journal(tmp_path / "run", has_events(WinnerSelected))
    (tmp_path / "run" / "scores" / "test.npz").unlink()
    shutil.rmtree(tmp_path / "run" / "model")
    assert summarize(veduta.train(resume=tmp_path / "run", console=QUIET)) == first
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == weights
    more = resume_search(tmp_path / "run", grid={"lr": [3e-2]})
    assert list(more.trials["lr"]) == [1e-3, 3e-2]
    assert pd.read_csv(tmp_path / "run" / "splits.csv")["split"].nunique() == 3


def test_a_moved_folder_can_be_given(
    whole: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_color_folders(tmp_path / "data", 20)
    monkeypatch.chdir(tmp_path)
    cut_journal(finished, has_events(WinnerSelected))
    assert_same_run(resume_search(finished, Path("data")), whole)


def test_a_missing_folder_is_reported_with_other_errors(color_folder: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(color_folder, tmp_path / "data"))
    search_heads(data, tmp_path / "run", {"lr": [1e-2]}, epochs=1)
    data.rename(tmp_path / "moved")
    with pytest.raises(InputError) as caught:
        resume_search(tmp_path / "run", grid={"lr": [3e-2]}, seed=1)
    seed, missing = caught.value.faults
    assert "seed was 0" in seed
    assert f"{data} cannot be found" in missing
    assert "veduta search FOLDER --resume" in missing
