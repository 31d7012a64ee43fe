"""`veduta rebuild`: tables come back with the bytes they had, curves with their points."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import veduta
from tests.experiment.test_resume import cut, expect_same, last, resume, search
from tests.experiment.test_whole import CNN
from veduta.cli.main import app
from veduta.errors import InputError
from veduta.experiment.recovery.rebuild import rebuild
from veduta.results.run import Run
from veduta.runs.journal import Journal, JournalError, encode, read_journal
from veduta.tracking.console import Console
from veduta.tracking.tables import csv_of, epochs_table, trials_table

Tree = Callable[[Path], dict[str, bytes]]

GRID = {"lr": [3e-3, 1e-2], "patience": [None, 2]}


@pytest.fixture(scope="module")
def whole(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with every file that one can have. Not to be changed by a test."""
    return search(colours, tmp_path_factory.mktemp("runs") / "whole", GRID, epochs=3, folds=2)


@pytest.fixture
def finished(whole: Run, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole.directory.path, tmp_path / "run"))


def derived(path: Path) -> list[Path]:
    """The files of a run that its journal gives byte for byte."""
    named = ["config.yaml", "splits.csv", "rejected.csv", "epochs.csv", "trials.csv"]
    named += ["summary.json", "label_issues.csv", "report.html"]
    return [path / name for name in named]


@pytest.fixture
def files(tree: Tree) -> Tree:
    """Every file below a folder with its content, the curves of TensorBoard apart."""

    def read(folder: Path) -> dict[str, bytes]:
        return {n: c for n, c in tree(folder).items() if ".tfevents." not in n}

    return read


def shown(path: Path) -> dict[str, Any]:
    """What TensorBoard reads of the runs below a folder: points with times, and HParams."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found: dict[str, Any] = {}
    for run in sorted((path / "tensorboard").iterdir()):
        reader = EventAccumulator(str(run))
        reader.Reload()
        row = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        started = HParamsPluginData.FromString(row).session_start_info
        found[run.name] = {
            "row": {name: str(value) for name, value in started.hparams.items()},
            **{tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]},
        }
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a5_every_derived_file_comes_back_with_the_bytes_it_had(
    whole: Run, finished: Path, files: Tree
) -> None:
    before, curves = files(finished), shown(finished)
    assert len(curves) == 4
    for path in derived(finished):
        path.unlink()
    shutil.rmtree(finished / "tensorboard")
    found = veduta.rebuild(finished)
    assert files(finished) == before
    assert shown(finished) == curves
    (epoch, *_) = [e for e in read_journal(whole.directory.journal) if e["event"] == "epoch"]
    assert curves[epoch["trial"]]["val/accuracy"][0].wall_time == epoch["time"]
    assert (found.same, found.replaced, found.missing, found.warnings) == (0, [], [], [])
    assert (len(found.made), found.curves) == (8, 4)
    again = veduta.rebuild(finished)
    assert (again.same, again.made, again.replaced, again.curves) == (8, [], [], 4)
    assert files(finished) == before
    assert shown(finished) == curves
    assert [len([*run.iterdir()]) for run in (finished / "tensorboard").iterdir()] == [1] * 4


def test_a5_each_derived_file_alone_comes_back(finished: Path, files: Tree) -> None:
    before = files(finished)
    page = (finished / "report.html").read_text()
    for path in derived(finished):
        path.unlink()
        assert rebuild(finished, draw=lambda _: page).made == [str(path.relative_to(finished))]
        assert files(finished) == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a5_what_differs_is_replaced(finished: Path, files: Tree) -> None:
    before, curves = files(finished), shown(finished)
    (events, *_) = (finished / "tensorboard").glob("*/*")
    changed = [finished / "trials.csv", finished / "config.yaml"]
    for path in (*changed, events):
        path.write_bytes(b"edited")
    found = veduta.rebuild(finished)
    assert sorted(found.replaced) == ["config.yaml", "trials.csv"]
    assert files(finished) == before
    assert shown(finished) == curves


def test_a5_a_run_half_done_has_the_tables_so_far(finished: Path, tree: Tree) -> None:
    cut(finished, last("trial finished", 2))
    for path in derived(finished):
        path.unlink()
    found = veduta.rebuild(finished)
    events = read_journal(finished / "journal.jsonl")
    assert (finished / "trials.csv").read_bytes() == csv_of(trials_table(events))
    assert (finished / "epochs.csv").read_bytes() == csv_of(epochs_table(events))
    assert "finished" in set(pd.read_csv(finished / "trials.csv")["status"])
    assert not (finished / "summary.json").exists()
    assert not (finished / "report.html").exists()
    assert (found.ended, found.missing) == (False, [])
    cut(finished, last("start"))
    assert veduta.rebuild(finished).ended is False
    assert len(pd.read_csv(finished / "trials.csv")) == 0


def test_a5_a_run_that_is_written_is_refused_and_no_journal_is_touched(
    finished: Path, tree: Tree
) -> None:
    (finished / "trials.csv").unlink()
    journal = finished / "journal.jsonl"
    with Journal.reopened(journal):
        before = tree(finished)
        for given in ({}, {"repair": finished.with_name("copy")}):
            with pytest.raises(InputError, match=f"being written by process {os.getpid()}"):
                veduta.rebuild(finished, **given)
        assert tree(finished) == before
    journal.write_bytes(torn := journal.read_bytes() + b'{"event":"ep')
    journal.chmod(0o400)
    (warning,) = veduta.rebuild(finished).warnings
    assert "last 12 bytes are left out" in warning
    assert journal.read_bytes() == torn
    for no_run in (finished / "scores", finished / "nothing"):
        with pytest.raises(InputError, match=r"has no journal\.jsonl"):
            veduta.rebuild(no_run)


def test_a5_a_torn_tail_is_told_once_when_the_run_goes_on(
    whole: Run, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for until in (last("end"), last("selected")):
        cut(finished, until)
        with (finished / "journal.jsonl").open("ab") as file:
            file.write(bytes(512))
        with pytest.raises(InputError, match="seed was 0"):
            resume(finished, seed=1)  # what is refused cuts nothing
        for times in (1, 0):
            run = resume(finished)
            assert capfd.readouterr().err.count("its last 512 bytes are left out") == times
    expect_same(run, whole)


def damaged(path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    journal.write_bytes(b"".join(lines))


def test_a5_a_damaged_journal_is_refused_and_copied(
    finished: Path, tmp_path: Path, tree: Tree
) -> None:
    lines = (finished / "journal.jsonl").read_bytes().splitlines(keepends=True)
    damaged(finished, 9, lambda line: line[:40] + bytes([line[40] ^ 4]) + line[41:])
    broken = tree(finished)
    for look in (veduta.rebuild, resume, veduta.report):
        with pytest.raises(JournalError, match=r"line 9 is not: .*--repair COPY"):
            look(finished)
    found = veduta.rebuild(finished, repair=tmp_path / "copies" / "copy")
    assert found.warnings == [f"lines 9 to {len(lines)}: left out, as line 9 is damaged"]
    assert found.directory.path == tmp_path / "copies" / "copy"
    assert found.directory.journal.read_bytes() == b"".join(lines[:8])
    assert tree(finished) == broken
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["copy"]
    with pytest.raises(InputError, match="is whole: leave --repair out"):
        veduta.rebuild(tmp_path / "copies" / "copy", repair=tmp_path / "another")
    with pytest.raises(InputError, match=r"exists(.|\n)*stands outside of it"):
        veduta.rebuild(finished, repair=finished / "media")


def test_a5_a_copy_goes_on_where_the_journal_was_whole(
    whole: Run, finished: Path, tmp_path: Path, tree: Tree
) -> None:
    events = read_journal(finished / "journal.jsonl")
    number = [event["event"] for event in events].index("trial finished") + 3
    damaged(finished, number, lambda line: b"?" * 20 + line[20:])
    broken = tree(finished)
    copy = tmp_path / "copy"
    found = veduta.rebuild(finished, repair=copy)
    assert found.warnings == [
        f"lines {number} to {len(events)}: left out, as line {number} is damaged"
    ]
    assert not found.ended
    assert read_journal(copy / "journal.jsonl") == events[: number - 1]
    assert not (copy / "report.html").exists()
    assert tree(finished) == broken
    expect_same(resume(copy), whole)


def test_a5_a_newer_journal_is_neither_read_nor_mended(finished: Path, tmp_path: Path) -> None:
    with (finished / "journal.jsonl").open("ab") as file:
        file.write(encode({"event": "resumed", "format": 99}))
    for given in ({}, {"repair": tmp_path / "copy"}):
        with pytest.raises(JournalError, match="format 99: update veduta"):
            veduta.rebuild(finished, **given)
    assert not (tmp_path / "copy").exists()


def test_a5_a_run_of_an_older_version_keeps_its_lists(finished: Path, files: Tree) -> None:
    journal = finished / "journal.jsonl"
    older = [event for event in read_journal(journal) if event["event"] != "lists"]
    del older[0]["format"]
    journal.write_bytes(b"".join(map(encode, older)))
    before = files(finished)
    assert veduta.rebuild(finished).missing == []
    assert files(finished) == before
    (finished / "splits.csv").unlink()
    (finished / "label_issues.csv").unlink()
    found = veduta.rebuild(finished)
    assert "splits.csv" in found.missing
    assert [one.partition(" ")[0] for one in found.missing[:2]] == [
        "label_issues.csv",
        "report.html",
    ]
    resume(finished)
    assert (finished / "splits.csv").read_bytes() == before["splits.csv"]
    assert (finished / "label_issues.csv").read_bytes() == before["label_issues.csv"]


@pytest.fixture(scope="module")
def extended_once(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was extended by a better rate. Not to be changed by a test."""
    path = tmp_path_factory.mktemp("runs") / "extended"
    first = search(colours, path, {"lr": [1e-7, 1e-6]}, epochs=6).summary["winner"]["trial"]
    assert resume(path, grid={"lr": [3e-3, 1e-3]}).summary["winner"]["trial"] != first
    return path


@pytest.fixture
def extended(extended_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(extended_once, tmp_path / "run"))


def winners(path: Path) -> set[str]:
    """The trials that summary, model and scores on the test are of."""
    summary = json.loads((path / "summary.json").read_text())["winner"]["trial"]
    model = json.loads((path / "model" / "model.json").read_text())["trial"]
    with np.load(path / "scores" / "test.npz") as kept:
        return {summary, model, str(kept["trial"])}


@pytest.mark.parametrize("event", ["resumed", "tiles", "selected", "test opening", "end"])
def test_a5_a_copy_that_ends_before_an_extension_is_of_one_winner(
    extended: Path, tmp_path: Path, event: str
) -> None:
    events = [one["event"] for one in read_journal(extended / "journal.jsonl")]
    number = len(events) - events[::-1].index(event)
    damaged(extended, number, lambda line: b"?" * 20 + line[20:])
    copy = tmp_path / "copy"
    found = veduta.rebuild(extended, repair=copy)
    assert found.ended == (event == "resumed")
    assert not (copy / "report.html").exists()
    if event == "resumed":
        assert {"media/index.json", "scores/test.npz", "model"} <= set(found.missing)
        assert "veduta search --resume" in found.missing[0]
    resume(copy)
    assert len(winners(copy)) == 1
    again = veduta.rebuild(copy)
    assert (again.ended, again.missing, again.made, again.replaced) == (True, [], [], [])


def test_a5_what_is_of_another_winner_counts_as_lost(extended: Path, tree: Tree) -> None:
    before = tree(extended)
    cut(extended, last("end"))
    found = veduta.rebuild(extended)
    assert found.ended
    assert {one.partition(" ")[0] for one in found.missing} == {
        *("report.html", "scores/test.npz", "model")
    }
    with pytest.raises(InputError, match=r"shows one winner.*veduta search --resume"):
        veduta.report(extended)
    resume(extended)
    assert len(winners(extended)) == 1
    assert winners(extended) != {json.loads(before["summary.json"])["winner"]["trial"]}


def test_a5_an_extension_that_was_killed_is_unfinished(extended: Path, tree: Tree) -> None:
    cut(extended, last("selected", 2))
    (extended / "report.html").unlink()
    done = CliRunner().invoke(app, ["rebuild", str(extended)])
    assert done.exit_code == 0, done.output
    assert "unfinished  it goes on with veduta search --resume" in " ".join(done.output.split("\n"))
    assert not (extended / "report.html").exists()
    with pytest.raises(InputError, match="shows one winner"):
        veduta.report(extended)


def garbled(path: Path) -> None:
    path.write_bytes(b"garbage")


@pytest.mark.parametrize(
    ("name", "hurt"),
    [
        ("scores/test.npz", garbled),
        ("scores/{winner}.npz", garbled),
        ("media/index.json", garbled),
        ("media/0001.webp", Path.unlink),
    ],
)
def test_a5_what_cannot_be_read_is_made_again_as_rebuild_says(
    finished: Path, tree: Tree, name: str, hurt: Callable[[Path], None]
) -> None:
    before = tree(finished)
    winner = json.loads(before["summary.json"])["winner"]["trial"]
    name = name.format(winner=winner)
    hurt(finished / name)
    found = veduta.rebuild(finished)
    assert {name, "media/index.json"} & set(found.missing)
    resume(finished)
    assert veduta.rebuild(finished).missing == []
    kept = ("media", "model", f"scores/{winner}")  # the test was opened once more
    assert {n: b for n, b in tree(finished).items() if n.startswith(kept)} == {
        n: b for n, b in before.items() if n.startswith(kept)
    }


def test_a5_a_summary_of_an_older_version_gives_no_page(finished: Path) -> None:
    journal = finished / "journal.jsonl"
    *events, end = read_journal(journal)
    older = {name: value for name, value in end.items() if name not in {"calibration", "figures"}}
    journal.write_bytes(b"".join(map(encode, [*events, older])))
    found = veduta.rebuild(finished)
    (missing,) = found.missing
    assert missing.startswith("report.html (a page shows what the summary of a run says")
    with pytest.raises(InputError, match="has no calibration, figures, as it is of an older"):
        veduta.report(finished)


def test_a5_splits_that_were_altered_are_not_blamed_on_the_images(
    finished: Path, tree: Tree
) -> None:
    before = tree(finished)
    cut(finished, last("selected"))
    splits = finished / "splits.csv"
    splits.write_bytes(splits.read_bytes().replace(b",train,", b",test,", 1))
    with pytest.raises(InputError, match=r"splits\.csv was altered.*veduta rebuild"):
        resume(finished)
    veduta.rebuild(finished)
    assert splits.read_bytes() == before["splits.csv"]


@pytest.fixture
def pictured(colours: Path, tmp_path: Path) -> Path:
    """A training of a whole network, with pictures in TensorBoard."""
    more = {"epochs": 1, "out": tmp_path / "cnn", "console": Console(quiet=True)}
    return veduta.train(colours, **{**CNN, **more}).directory.path


def test_a5_pictures_need_the_images_and_come_back_when_the_run_is_resumed(
    pictured: Path, tree: Tree, files: Tree
) -> None:
    (trial,) = (pictured / "tensorboard").iterdir()
    assert len(list(trial.iterdir())) == 2
    (curves,) = (path for path in trial.iterdir() if not path.name.endswith(".pictures"))
    (pictures,) = set(trial.iterdir()) - {curves}
    before, shape = tree(pictured), files(pictured)
    curves.unlink()
    assert veduta.rebuild(pictured).curves == 1
    assert files(pictured) == shape
    assert pictures.read_bytes() == before[str(pictures.relative_to(pictured))], "they stay"
    assert len(list(trial.iterdir())) == 2
    shutil.rmtree(pictured / "tensorboard")
    shutil.rmtree(pictured / "media")
    done = CliRunner().invoke(app, ["rebuild", str(pictured)])
    assert done.exit_code == 3
    told = " ".join(done.output.split())
    assert f"media/index.json, pictures in tensorboard/{trial.name}; resumed, the run" in told
    assert "images: veduta train --resume" in told
    assert len(list(trial.iterdir())) == 1
    veduta.train(resume=pictured, console=Console(quiet=True))
    assert len(list(trial.iterdir())) == 2
    kept = ("media", "model", "scores")
    assert {n: b for n, b in tree(pictured).items() if n.startswith(kept)} == {
        n: b for n, b in before.items() if n.startswith(kept)
    }


def test_a5_the_command_says_what_it_did(finished: Path) -> None:
    (finished / "epochs.csv").unlink()
    (finished / "summary.json").write_text("{}")
    done = CliRunner().invoke(app, ["rebuild", str(finished)])
    assert done.exit_code == 0, done.output
    told = done.output
    assert "made        1 files: epochs.csv; 6 were there as the journal" in told
    assert "replaced    1 files: summary.json" in told
    assert "of 4 trials" in told
    assert json.loads((finished / "summary.json").read_text())["folds"] == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a5_an_ended_run_that_is_resumed_makes_missing_files_again(
    finished: Path, files: Tree
) -> None:
    before, curves = files(finished), shown(finished)
    for path in derived(finished):
        path.unlink()
    shutil.rmtree(finished / "tensorboard")
    resume(finished)
    assert files(finished) == before
    assert shown(finished) == curves
