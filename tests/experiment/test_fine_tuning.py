"""Runs that train a backbone: killed, interrupted, continued with more epochs, and configured."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import veduta
from tests.support.resuming import (
    CNN_SETTINGS,
    assert_same_results,
    cut_run,
    find_events,
    read_untimed,
    train_cnn,
)
from tests.support.runs import QUIET
from veduta.errors import InputError, VedutaError
from veduta.experiment import trial_search
from veduta.results.run import Run
from veduta.runs import checkpoints
from veduta.runs.checkpoints import Checkpoints, read_checkpoint
from veduta.runs.events import (
    ExecutionConfigured,
    MemoryPlanned,
    RunStarted,
    SearchPlanned,
    TrialFinished,
    TrialStarted,
    WinnerSelected,
)
from veduta.runs.journal import encode_event, read_journal
from veduta.tuning import refit
from veduta.tuning.executors import serial
from veduta.tuning.trials import checkpointing
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.store import load_finished_trial


@pytest.fixture(scope="module")
def whole(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that was not interrupted. Not to be changed by a test."""
    return train_cnn(color_folder, out=tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.slow
def test_a_command_that_is_killed_twice_in_an_epoch_can_be_resumed(
    whole: Run, color_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    settings: dict[str, Any] = {**CNN_SETTINGS, "channels": "8x12"}
    words = [str(color_folder), "--out", str(out)]
    words += [w for n, v in settings.items() for w in (f"--{n.replace('_', '-')}", str(v))]
    trial = whole.summary.winner.trial
    steps = []
    for arguments in (words, ["--resume", str(out)]):
        command = [sys.executable, "-m", "veduta.cli.main", "train", *arguments]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
            before = {*out.glob("checkpoints/*")}
            while child.poll() is None:
                if {*out.glob("checkpoints/t*")} - before:
                    child.kill()
                time.sleep(0.001)
        assert child.returncode == -9, "it ended before it could be killed"
        checkpoint = Checkpoints(out / "checkpoints", trial).load_newest()
        assert checkpoint is not None
        steps.append(checkpoint.progress["trainings"][0]["step"])
    assert any(step > 0 for step in steps)
    assert_same_results(train_cnn(resume=out), whole)


def test_a_finished_trial_is_loaded_by_a_resumed_run(whole: Run, tmp_path: Path) -> None:
    path = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    cut_run(path, WinnerSelected)
    assert_same_results(train_cnn(resume=path), whole)
    assert len(find_events(path, TrialStarted)) == 1, "it was taken over, not trained again"
    (event,) = find_events(path, TrialFinished)
    names = {*Outcome.__dataclass_fields__} - {"correct", "stopped_by_halving"}
    outcome = Outcome(**event.model_dump(include=names), correct=None)  # type: ignore[arg-type]
    assert load_finished_trial(path / "scores", outcome, event) is not None


@contextmanager
def interrupt_training(kind: type, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Press Ctrl-C in the fourth of the six steps of an epoch; yield the steps that were made."""
    steps: list[int] = []
    handle_step = kind.handle_step  # type: ignore[attr-defined]

    def interrupt(self: Any, images: int, *more: Any) -> None:
        steps.append(images)
        if len(steps) == 4:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)  # the main thread handles it
        handle_step(self, images, *more)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job ignores it
    try:
        with monkeypatch.context() as patched:
            patched.setattr(kind, "handle_step", interrupt)
            with pytest.raises(KeyboardInterrupt):
                yield steps
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("settings", [{"refit": True}, {"folds": 2}], ids=str)
def test_a_refit_can_be_resumed(
    color_folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Killed after the refit, or before it had a checkpoint: the weights are the same."""
    run = train_cnn(color_folder, out=tmp_path / "run", **settings)
    assert run.summary.winner.refit
    images = sorted(color_folder.rglob("*.png"))
    predictions = veduta.predict(run.directory.path, images[::7], out=tmp_path / "p", console=QUIET)
    assert len(predictions.table) == len(images[::7])
    for name, remove in (("kept", False), ("removed", True)):
        path = Path(shutil.copytree(run.directory.path, tmp_path / name))
        cut_run(path, WinnerSelected)
        (checkpoint,) = (path / "checkpoints").glob("*.refit-*")
        if remove:
            checkpoint.unlink()
        assert_same_results(train_cnn(resume=path), run)


def test_an_interrupted_refit_leaves_a_checkpoint(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_cnn(color_folder, out=tmp_path / "whole", refit=True)
    with interrupt_training(refit.Refit, monkeypatch) as steps:
        train_cnn(color_folder, out=tmp_path / "run", checkpoint_seconds=1000, refit=True)
    (path,) = (tmp_path / "run" / "checkpoints").glob("*.refit-*")
    checkpoint = read_checkpoint(path)
    assert checkpoint is not None
    (training,) = checkpoint.progress["trainings"]
    assert (training["epoch"], training["step"]) == (1, len(steps))
    assert_same_results(train_cnn(resume=tmp_path / "run"), whole)


def test_an_interruption_ends_the_threads_and_leaves_a_checkpoint(
    whole: Run, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = threading.active_count()
    with interrupt_training(serial._TrialTraining, monkeypatch) as steps:
        train_cnn(color_folder, out=tmp_path / "run", checkpoint_seconds=1000)
    assert threading.active_count() == threads
    assert len(steps) <= 5, "the current step is the last one"
    trial = whole.summary.winner.trial
    checkpoint = Checkpoints(tmp_path / "run" / "checkpoints", trial).load_newest()
    assert checkpoint is not None
    (training,) = checkpoint.progress["trainings"]
    assert (training["epoch"], training["step"]) == (1, len(steps))
    assert_same_results(train_cnn(resume=tmp_path / "run"), whole)


def test_a_full_disk_ends_the_run_with_an_error(
    whole: Run, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically, written = checkpoints.write_atomically, 0  # type: ignore[attr-defined]

    def write(path: Path, *content: bytes) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError(28, "No space left on device")
        write_atomically(path, *content)

    monkeypatch.setattr(checkpoints, "write_atomically", write)
    monkeypatch.setattr(checkpointing, "TIME_RATIO", 0)  # or a slow disk has fewer checkpoints
    with pytest.raises(VedutaError, match="No space left"):
        train_cnn(color_folder, out=tmp_path / "run")
    assert len([*(tmp_path / "run" / "checkpoints").iterdir()]) == 2
    assert not find_events(tmp_path / "run", TrialFinished)
    monkeypatch.undo()
    assert_same_results(train_cnn(resume=tmp_path / "run"), whole)


def test_a_training_with_more_epochs_equals_one_from_the_start(
    whole: Run, color_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    longer = train_cnn(color_folder, out=tmp_path / "longer", epochs=5)
    path = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    capfd.readouterr()
    run = train_cnn(resume=path, epochs=5)
    assert "schedule" not in capfd.readouterr().err
    assert_same_results(run, longer)
    seconds = pd.read_csv(path / "epochs.csv")["seconds"].tolist()
    assert seconds[:3] == whole.epochs["seconds"].tolist(), "the first epochs are not repeated"
    assert run.summary.test.evaluations == 2
    assert_same_results(train_cnn(resume=path), longer)  # nothing is left to do
    with pytest.raises(InputError, match="epochs was 5, now it is 4"):
        train_cnn(resume=path, epochs=4)


def test_a_longer_training_that_is_killed_can_be_resumed(
    whole: Run, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = train_cnn(color_folder, out=tmp_path / "longer", epochs=5)
    path = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    handle_step, steps = serial._TrialTraining.handle_step, 0

    def die(self: Any, images: int) -> None:
        nonlocal steps
        steps += 1
        if steps == 8:
            raise SystemExit("killed")  # an Exception would be a failed trial
        handle_step(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(serial._TrialTraining, "handle_step", die)
        with pytest.raises(SystemExit, match="killed"):
            train_cnn(resume=path, epochs=5)
    assert_same_results(train_cnn(resume=path), longer)


def test_a_schedule_of_fewer_epochs_is_warned_about(
    color_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train_cnn(color_folder, out=tmp_path / "run", schedule="cosine", epochs=2)
    capfd.readouterr()
    run = train_cnn(resume=tmp_path / "run", epochs=3)
    assert "the first epochs had the cosine schedule of the shorter" in capfd.readouterr().err
    assert len(run.epochs) == 3


def test_heads_on_a_frozen_backbone_start_again_without_warning(
    color_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """They are trained together, without checkpoints."""
    values: dict[str, Any] = {
        "image_size": 32,
        "weights": "none",
        "engine": "torch",
        "schedule": "cosine",
    }
    common: dict[str, Any] = {"console": QUIET, **values}
    veduta.train(color_folder, out=tmp_path / "run", epochs=2, **common)
    longer = veduta.train(color_folder, out=tmp_path / "longer", epochs=4, **common)
    capfd.readouterr()
    run = veduta.train(resume=tmp_path / "run", epochs=4, console=QUIET)
    assert "schedule" not in capfd.readouterr().err
    assert_same_results(run, longer)


def test_trials_with_more_epochs_continue_if_the_learning_rate_is_constant(
    color_folder: Path, tmp_path: Path
) -> None:
    grid: dict[str, Any] = {"schedule": ["constant", "cosine"]}
    common: dict[str, Any] = {
        k: v for k, v in CNN_SETTINGS.items() if k not in {"schedule", "epochs"}
    }
    path = tmp_path / "run"
    veduta.search(color_folder, grid=grid, out=path, epochs=2, console=QUIET, **common)
    run = veduta.search(resume=path, grid={"epochs": [3]}, console=QUIET)
    both = {**grid, "epochs": [2, 3]}
    whole = veduta.search(color_folder, grid=both, out=tmp_path / "whole", console=QUIET, **common)
    assert_same_results(run, whole)


def test_threads_and_autocast_dtype_are_chosen_once(
    whole: Run, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def measure(*_: object, **__: object) -> dict[str, float]:
        calls.append(1)
        return {"f32": 1.0, "bf16": 0.5}

    monkeypatch.setattr(trial_search, "measure_step_seconds", measure)
    monkeypatch.setattr(trial_search, "count_cores", lambda: 1)
    run = train_cnn(color_folder, out=tmp_path / "run", amp="auto")
    assert len(calls) == 1
    (event,) = find_events(run, ExecutionConfigured)
    assert (event.threads, event.autocast) == (1, "bf16")
    assert event.step_seconds == {"f32": 1.0, "bf16": 0.5}
    kinds = [type(event) for event in read_journal(run.directory.journal)]
    assert kinds.index(ExecutionConfigured) < kinds.index(TrialStarted)

    monkeypatch.setattr(trial_search, "count_cores", lambda: 64)
    monkeypatch.setattr(
        trial_search, "measure_step_seconds", lambda *_: pytest.fail("it was chosen before")
    )
    path = Path(shutil.copytree(run.directory.path, tmp_path / "again"))
    cut_run(path, TrialStarted)
    shutil.rmtree(path / "checkpoints")
    assert_same_results(train_cnn(resume=path), run)
    assert len(find_events(path, ExecutionConfigured)) == 1
    assert read_untimed(run.directory.epochs) != read_untimed(whole.directory.epochs), "bf16 rounds"


def test_a_training_alone_uses_all_cores_and_several_use_one_each(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_search, "count_cores", lambda: 2)
    common: dict[str, Any] = {k: v for k, v in CNN_SETTINGS.items() if k != "lr"} | {
        "epochs": 2,
        "console": QUIET,
    }
    grid: dict[str, Any] = {"lr": [1e-3, 1e-2]}
    runs = [
        train_cnn(color_folder, out=tmp_path / "one", epochs=1),
        veduta.search(color_folder, grid=grid, out=tmp_path / "two", **common),
        veduta.search(color_folder, grid=grid, out=tmp_path / "halved", halving=2, **common),
    ]
    assert [find_events(run, ExecutionConfigured)[0].threads for run in runs] == [2, 1, 2]


def test_a_run_whose_trials_have_other_ids_is_refused(whole: Run, tmp_path: Path) -> None:
    """Otherwise all of its trials would be run again without notice."""
    path = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    events = read_journal(path / "journal.jsonl")
    start = events[0]
    assert isinstance(start, RunStarted)
    provenance = start.provenance
    versions = {**provenance.versions, "veduta": "0.0.1"}
    provenance = provenance.model_copy(update={"versions": versions})
    events[0] = start.model_copy(update={"provenance": provenance})
    (path / "journal.jsonl").write_bytes(b"".join(map(encode_event, events)))
    assert train_cnn(resume=path).directory.path == path
    events = [
        event.model_copy(update={"trials": ["t000000000"]})
        if isinstance(event, SearchPlanned)
        else event
        for event in events
    ]
    (path / "journal.jsonl").write_bytes(b"".join(map(encode_event, events)))
    with pytest.raises(InputError) as caught:
        train_cnn(resume=path)
    assert "started by version 0.0.1" in str(caught.value)
    assert "t000000000" in str(caught.value)
    assert whole.summary.winner.trial not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="depends on the number of cores")
def test_the_memory_of_trained_backbones_is_planned(whole: Run) -> None:
    (event,) = find_events(whole, MemoryPlanned)
    assert event.tiles == event.concurrent_tiles == 1
    assert event.largest_tile > 10**5
