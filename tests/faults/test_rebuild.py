"""`veduta rebuild`: derived files get the bytes they had, curves the points they had."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import veduta
from tests.support.resuming import (
    assert_same_run,
    cut_journal,
    find_events,
    has_events,
    resume_search,
    search_heads,
    train_cnn,
)
from veduta.cli.main import app
from veduta.errors import InputError
from veduta.results.run import Run
from veduta.runs.artifact import read_artifact
from veduta.runs.events import (
    EpochFinished,
    JournalEvent,
    RunFinished,
    RunResumed,
    RunStarted,
    TestEvaluationStarted,
    TilesPlanned,
    TrialFinished,
    WinnerSelected,
)
from veduta.runs.journal import Journal, JournalError, encode_event, read_journal
from veduta.runs.scores import load_test_scores
from veduta.runs.summary import read_run_summary
from veduta.runs.tables import table_to_csv
from veduta.tracking.tables import build_epochs_table, build_trials_table

Tree = Callable[[Path], dict[str, bytes]]

GRID: dict[str, list[Any]] = {"lr": [3e-3, 1e-2], "patience": [None, 2]}
DERIVED = (
    *("config.yaml", "splits.csv", "rejected.csv", "epochs.csv", "trials.csv", "summary.json"),
    *("label_issues.csv", "report.html"),
)


@pytest.fixture(scope="module")
def whole(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with every kind of file. No test may change it."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    return search_heads(color_folder, path, GRID, epochs=3, folds=2)


@pytest.fixture
def finished(whole: Run, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(whole.directory.path, tmp_path / "run"))


def remove_derived_files(path: Path) -> None:
    """Remove the files of a run that its journal determines byte for byte."""
    for name in DERIVED:
        (path / name).unlink()


@pytest.fixture
def read_files(tree: Tree) -> Tree:
    """Read every file below a folder except the curves of TensorBoard."""

    def read(folder: Path) -> dict[str, bytes]:
        return {name: content for name, content in tree(folder).items() if ".tfevents." not in name}

    return read


def read_curves(path: Path) -> dict[str, Any]:
    """Read points with times, and HParams, of the TensorBoard runs of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    curves: dict[str, Any] = {}
    for run in sorted((path / "tensorboard").iterdir()):
        reader = EventAccumulator(str(run))
        reader.Reload()
        row = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        session = HParamsPluginData.FromString(row).session_start_info
        curves[run.name] = {
            "row": {name: str(value) for name, value in session.hparams.items()},
            **{tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]},
        }
    return curves


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_derived_file_gets_the_bytes_it_had(
    whole: Run, finished: Path, read_files: Tree
) -> None:
    before, curves = read_files(finished), read_curves(finished)
    assert len(curves) == 4
    remove_derived_files(finished)
    shutil.rmtree(finished / "tensorboard")
    result = veduta.rebuild(finished)
    assert read_files(finished) == before
    assert read_curves(finished) == curves
    epoch = find_events(whole, EpochFinished)[0]
    assert curves[epoch.trial]["val/accuracy"][0].wall_time == epoch.time
    assert (result.unchanged, result.replaced, result.missing, result.warnings) == (0, [], [], [])
    assert (len(result.created), result.curves) == (8, 4)
    again = veduta.rebuild(finished)
    assert (again.unchanged, again.created, again.replaced, again.curves) == (8, [], [], 4)
    assert read_files(finished) == before
    assert read_curves(finished) == curves
    assert [len([*run.iterdir()]) for run in (finished / "tensorboard").iterdir()] == [1] * 4


def test_each_derived_file_alone_is_written_again(
    finished: Path, read_files: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_files(finished)
    page = before["report.html"].decode()  # drawing it for each file would take seconds
    monkeypatch.setattr("veduta.experiment.recovery.rebuild.render_report", lambda _: page)
    for name in DERIVED:
        (finished / name).unlink()
        assert veduta.rebuild(finished).created == [name]
        assert read_files(finished) == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_edited_files_are_replaced(finished: Path, read_files: Tree) -> None:
    before, curves = read_files(finished), read_curves(finished)
    (event_file, *_) = (finished / "tensorboard").glob("*/*")
    for path in (finished / "trials.csv", finished / "config.yaml", event_file):
        path.write_bytes(b"edited")
    result = veduta.rebuild(finished)
    assert sorted(result.replaced) == ["config.yaml", "trials.csv"]
    assert read_files(finished) == before
    assert read_curves(finished) == curves


def test_an_unfinished_run_gets_the_tables_so_far(finished: Path) -> None:
    cut_journal(finished, has_events(TrialFinished, 2))
    remove_derived_files(finished)
    result = veduta.rebuild(finished)
    events = read_journal(finished / "journal.jsonl")
    assert (finished / "trials.csv").read_bytes() == table_to_csv(build_trials_table(events))
    assert (finished / "epochs.csv").read_bytes() == table_to_csv(build_epochs_table(events))
    assert "finished" in set(pd.read_csv(finished / "trials.csv")["status"])
    assert not (finished / "summary.json").exists()
    assert not (finished / "report.html").exists()
    assert (result.finished, result.missing) == (False, [])
    cut_journal(finished, has_events(RunStarted))
    assert not veduta.rebuild(finished).finished
    assert len(pd.read_csv(finished / "trials.csv")) == 0


def test_a_run_that_is_being_written_is_refused_and_no_journal_is_changed(
    finished: Path, tree: Tree
) -> None:
    (finished / "trials.csv").unlink()
    journal = finished / "journal.jsonl"
    with Journal.reopen(journal):
        before = tree(finished)
        for repair in (None, finished.with_name("copy")):
            with pytest.raises(InputError, match=f"process {os.getpid()}"):
                veduta.rebuild(finished, repair=repair)
        assert tree(finished) == before
    journal.write_bytes(torn := journal.read_bytes() + b'{"event":"ep')
    journal.chmod(0o400)
    (warning,) = veduta.rebuild(finished).warnings
    assert "12 bytes" in warning
    assert journal.read_bytes() == torn
    for path in (finished / "scores", finished / "nothing"):
        with pytest.raises(InputError, match=r"no journal\.jsonl"):
            veduta.rebuild(path)


def test_a_torn_tail_is_reported_once_when_the_run_is_resumed(
    whole: Run, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for kind in (RunFinished, WinnerSelected):
        cut_journal(finished, has_events(kind))
        with (finished / "journal.jsonl").open("ab") as file:
            file.write(bytes(512))
        with pytest.raises(InputError, match="seed"):
            resume_search(finished, seed=1)  # a refused command changes nothing
        for count in (1, 0):
            run = resume_search(finished)
            assert capfd.readouterr().err.count("512 bytes") == count
    assert_same_run(run, whole)


def damage_line(path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """Change one line of the journal of a run."""
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    journal.write_bytes(b"".join(lines))


def overwrite_start(line: bytes) -> bytes:
    """Return a line whose first 20 bytes are overwritten."""
    return b"?" * 20 + line[20:]


def test_a_run_with_a_damaged_journal_is_refused_and_can_be_copied(
    finished: Path, tmp_path: Path, tree: Tree
) -> None:
    lines = (finished / "journal.jsonl").read_bytes().splitlines(keepends=True)
    damage_line(finished, 9, lambda line: line[:40] + bytes([line[40] ^ 4]) + line[41:])
    before = tree(finished)
    for function in (veduta.rebuild, resume_search, veduta.report):
        with pytest.raises(JournalError, match=r"line 9\b.*--repair COPY"):
            function(finished)
    copies = tmp_path / "copies"
    result = veduta.rebuild(finished, repair=copies / "copy")
    (warning,) = result.warnings
    assert f"9 to {len(lines)}" in warning
    assert result.directory.path == copies / "copy"
    assert result.directory.journal.read_bytes() == b"".join(lines[:8])
    assert tree(finished) == before
    assert [path.name for path in copies.iterdir()] == ["copy"]
    with pytest.raises(InputError, match="not damaged"):
        veduta.rebuild(copies / "copy", repair=tmp_path / "another")
    with pytest.raises(InputError) as caught:
        veduta.rebuild(finished, repair=finished / "media")
    exists, outside = caught.value.faults
    assert "exists" in exists
    assert "outside" in outside


def test_a_copy_is_resumed_where_the_journal_was_damaged(
    whole: Run, finished: Path, tmp_path: Path, tree: Tree
) -> None:
    events = read_journal(finished / "journal.jsonl")
    number = next(n for n, event in enumerate(events) if isinstance(event, TrialFinished)) + 3
    damage_line(finished, number, overwrite_start)
    before, copy = tree(finished), tmp_path / "copy"
    result = veduta.rebuild(finished, repair=copy)
    (warning,) = result.warnings
    assert f"{number} to {len(events)}" in warning
    assert not result.finished
    assert read_journal(copy / "journal.jsonl") == events[: number - 1]
    assert not (copy / "report.html").exists()
    assert tree(finished) == before
    assert_same_run(resume_search(copy), whole)


def test_a_newer_journal_is_neither_read_nor_copied(finished: Path, tmp_path: Path) -> None:
    newer = RunResumed(format=99, pid=1, versions={}, backbones={})
    with (finished / "journal.jsonl").open("ab") as file:
        file.write(encode_event(newer))
    for repair in (None, tmp_path / "copy"):
        with pytest.raises(JournalError, match="format 99: update veduta"):
            veduta.rebuild(finished, repair=repair)
    assert not (tmp_path / "copy").exists()


@pytest.fixture(scope="module")
def extended_run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was extended by a better learning rate. No test may change it."""
    path = tmp_path_factory.mktemp("runs") / "extended"
    first = search_heads(color_folder, path, {"lr": [1e-7, 1e-6]}, epochs=6).summary.winner.trial
    assert resume_search(path, grid={"lr": [3e-3, 1e-3]}).summary.winner.trial != first
    return path


@pytest.fixture
def extended(extended_run: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(extended_run, tmp_path / "run"))


def list_winners(path: Path) -> set[str]:
    """Return the trials of the summary, of the model and of the test scores."""
    return {
        read_run_summary(path / "summary.json").winner.trial,
        read_artifact(path)[0].trial,
        load_test_scores(path / "scores" / "test.npz").trial,
    }


@pytest.mark.parametrize(
    "kind", [RunResumed, TilesPlanned, WinnerSelected, TestEvaluationStarted, RunFinished]
)
def test_a_copy_that_ends_before_an_extension_has_one_winner(
    extended: Path, tmp_path: Path, kind: type[JournalEvent]
) -> None:
    events, copy = read_journal(extended / "journal.jsonl"), tmp_path / "copy"
    number = max(n for n, event in enumerate(events, 1) if isinstance(event, kind))
    damage_line(extended, number, overwrite_start)
    result = veduta.rebuild(extended, repair=copy)
    assert result.finished == (kind is RunResumed)
    assert not (copy / "report.html").exists()
    if kind is RunResumed:
        assert {"media/index.json", "scores/test.npz", "model"} <= set(result.missing)
        assert "veduta search --resume" in result.missing[0]
    resume_search(copy)
    assert len(list_winners(copy)) == 1
    again = veduta.rebuild(copy)
    assert (again.finished, again.missing, again.created, again.replaced) == (True, [], [], [])


def test_files_of_another_winner_count_as_missing(extended: Path) -> None:
    last_winner = read_run_summary(extended / "summary.json").winner.trial
    cut_journal(extended, has_events(RunFinished))
    result = veduta.rebuild(extended)
    assert result.finished
    names = {message.partition(" ")[0] for message in result.missing}
    assert names == {"report.html", "scores/test.npz", "model"}
    with pytest.raises(InputError, match=r"one winner.*veduta search --resume"):
        veduta.report(extended)
    resume_search(extended)
    assert len(list_winners(extended)) == 1
    assert list_winners(extended) != {last_winner}


def test_an_extension_that_was_killed_is_unfinished(extended: Path) -> None:
    cut_journal(extended, has_events(WinnerSelected, 2))
    (extended / "report.html").unlink()
    result = CliRunner().invoke(app, ["rebuild", str(extended)])
    assert result.exit_code == 0, result.output
    assert "unfinished" in result.output
    assert "veduta search --resume" in " ".join(result.output.split())
    assert not (extended / "report.html").exists()
    with pytest.raises(InputError, match="one winner"):
        veduta.report(extended)


def write_garbage(path: Path) -> None:
    """Overwrite a file."""
    path.write_bytes(b"garbage")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("scores/test.npz", write_garbage),
        ("scores/{winner}.npz", write_garbage),
        ("media/index.json", write_garbage),
        ("media/0001.webp", Path.unlink),
    ],
)
def test_unreadable_files_are_reported_and_a_resumed_run_makes_them_again(
    finished: Path, tree: Tree, name: str, damage: Callable[[Path], None]
) -> None:
    before = tree(finished)
    winner = read_run_summary(finished / "summary.json").winner.trial
    name = name.format(winner=winner)
    damage(finished / name)
    result = veduta.rebuild(finished)
    assert {name, "media/index.json"} & set(result.missing)
    resume_search(finished)
    assert veduta.rebuild(finished).missing == []
    same = ("media", "model", f"scores/{winner}")  # the test set was evaluated once more
    assert {n: content for n, content in tree(finished).items() if n.startswith(same)} == {
        n: content for n, content in before.items() if n.startswith(same)
    }


def test_edited_splits_are_not_mistaken_for_changed_images(finished: Path, tree: Tree) -> None:
    before = tree(finished)
    cut_journal(finished, has_events(WinnerSelected))
    splits = finished / "splits.csv"
    splits.write_bytes(splits.read_bytes().replace(b",train,", b",test,", 1))
    with pytest.raises(InputError, match=r"splits\.csv.*veduta rebuild"):
        resume_search(finished)
    veduta.rebuild(finished)
    assert splits.read_bytes() == before["splits.csv"]


@pytest.fixture
def with_pictures(color_folder: Path, tmp_path: Path) -> Path:
    """A training from scratch, with pictures in TensorBoard."""
    return train_cnn(color_folder, epochs=1, out=tmp_path / "cnn").directory.path


def test_pictures_need_the_images_and_are_made_when_the_run_is_resumed(
    with_pictures: Path, tree: Tree, read_files: Tree
) -> None:
    path = with_pictures
    (trial,) = (path / "tensorboard").iterdir()
    assert len(list(trial.iterdir())) == 2
    (curves,) = (file for file in trial.iterdir() if not file.name.endswith(".pictures"))
    (pictures,) = set(trial.iterdir()) - {curves}
    before, without_curves = tree(path), read_files(path)
    curves.unlink()
    assert veduta.rebuild(path).curves == 1
    assert read_files(path) == without_curves
    assert pictures.read_bytes() == before[str(pictures.relative_to(path))], "pictures stay"
    assert len(list(trial.iterdir())) == 2
    shutil.rmtree(path / "tensorboard")
    shutil.rmtree(path / "media")
    result = CliRunner().invoke(app, ["rebuild", str(path)])
    assert result.exit_code == 3
    output = " ".join(result.output.split())
    for part in ("media/index.json", f"pictures in tensorboard/{trial.name}", "train --resume"):
        assert part in output
    assert len(list(trial.iterdir())) == 1
    train_cnn(resume=path)
    assert len(list(trial.iterdir())) == 2
    same = ("media", "model", "scores")
    assert {n: content for n, content in tree(path).items() if n.startswith(same)} == {
        n: content for n, content in before.items() if n.startswith(same)
    }


def test_the_command_prints_what_it_wrote(finished: Path) -> None:
    (finished / "epochs.csv").unlink()
    (finished / "summary.json").write_text("{}")
    result = CliRunner().invoke(app, ["rebuild", str(finished)])
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    for part in ("1 files: epochs.csv; 6", "1 files: summary.json", "of 4 trials"):
        assert part in output
    assert json.loads((finished / "summary.json").read_text())["folds"] == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_finished_run_that_is_resumed_gets_its_missing_files(
    finished: Path, read_files: Tree
) -> None:
    before, curves = read_files(finished), read_curves(finished)
    remove_derived_files(finished)
    shutil.rmtree(finished / "tensorboard")
    resume_search(finished)
    assert read_files(finished) == before
    assert read_curves(finished) == curves
