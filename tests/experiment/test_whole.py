"""Networks trained whole, as runs: killed, interrupted, made longer, and decided once."""

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
from tests.experiment.test_run import untimed
from veduta.errors import InputError, VedutaError
from veduta.experiment import execution as decided
from veduta.results.run import Run
from veduta.runs import checkpoints
from veduta.runs.checkpoints import Checkpoints, read_checkpoint
from veduta.runs.journal import Event, encode, read_journal
from veduta.tracking.console import Console
from veduta.tuning import refit as again
from veduta.tuning.executors import serial
from veduta.tuning.trials import checkpointing as keeper
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.store import read_finished

QUIET = Console(quiet=True)
CNN: dict[str, Any] = {
    "model": "cnn", "image_size": 32, "channels": (8, 12), "epochs": 3, "batch_size": 8,
    "lr": 3e-3, "optimizer": "adam", "schedule": "constant", "warmup": 0,
    "augment": "crop+flip+mixup", "ema": 0.5, "checkpoint_seconds": 0,
}  # fmt: skip


def train(data: Path | None = None, **values: Any) -> Run:
    common = CNN if data else {}
    return veduta.train(data, console=QUIET, **{**common, **values})


def expect_same(run: Run, whole: Run) -> None:
    for name in ("trials", "epochs"):
        assert untimed(getattr(run.directory, name)) == untimed(getattr(whole.directory, name))
    one, other = (one.directory.model / "model.safetensors" for one in (run, whole))
    assert one.read_bytes() == other.read_bytes()
    for name in ("validation", "ties", "winner", "halving"):
        assert run.summary[name] == whole.summary[name]
    assert run.summary["test"]["accuracy"] == whole.summary["test"]["accuracy"]


def events(run: Run | Path, kind: str) -> list[Event]:
    path = run.directory.path if isinstance(run, Run) else run
    return [event for event in read_journal(path / "journal.jsonl") if event["event"] == kind]


def cut(path: Path, kind: str) -> None:
    """Leave of a run what there was when an event came first; its tables and model are gone."""
    lines = path.joinpath("journal.jsonl").read_bytes().splitlines(keepends=True)
    place = [event["event"] for event in read_journal(path / "journal.jsonl")].index(kind)
    path.joinpath("journal.jsonl").write_bytes(b"".join(lines[: place + 1]))
    for name in ("summary.json", "trials.csv", "epochs.csv"):
        path.joinpath(name).unlink()
    shutil.rmtree(path / "model")


@pytest.fixture(scope="module")
def whole(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that nothing interrupted. Not to be changed by a test."""
    return train(colours, out=tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.slow
def test_b2_a_command_killed_twice_inside_an_epoch_goes_on(
    whole: Run, colours: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    settings = {**CNN, "channels": "8x12"}
    words = [str(colours), "--out", str(out)]
    words += [w for n, v in settings.items() for w in (f"--{n.replace('_', '-')}", str(v))]
    trial = whole.summary["winner"]["trial"]
    stood = []
    for given in (words, ["--resume", str(out)]):
        command = [sys.executable, "-m", "veduta.cli.main", "train", *given]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
            before = {*out.glob("checkpoints/*")}
            while child.poll() is None:
                if {*out.glob("checkpoints/t*")} - before:
                    child.kill()
                time.sleep(0.001)
        assert child.returncode == -9, "it ended before it could be killed"
        found = Checkpoints(out / "checkpoints", trial).newest()
        assert found is not None
        stood.append(found.progress["trainings"][0])
    assert any(one["step"] > 0 for one in stood)
    expect_same(train(resume=out), whole)


def test_after_a_resume_the_kept_trial_is_read_back_whole(whole: Run, tmp_path: Path) -> None:
    path = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    cut(path, "selected")
    expect_same(train(resume=path), whole)
    assert len(events(path, "trial started")) == 1, "it was taken over, not trained again"
    (event,) = events(path, "trial finished")
    names = {name: event[name] for name in (*Outcome.FIGURES, "cost", "trial")}
    outcome = Outcome(**names, hits=None)  # type: ignore[arg-type]
    assert read_finished(path / "scores", outcome, event) is not None


@contextmanager
def interrupted(kind: type, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Ctrl-C in the fourth of six steps of an epoch, which a training tells of by its `pulse`."""
    steps: list[int] = []
    real = kind.pulse  # type: ignore[attr-defined]

    def pulse(self: Any, images: int, *more: Any) -> None:
        steps.append(images)
        if len(steps) == 4:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)  # the main thread takes it
        real(self, images, *more)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job ignores it
    try:
        with monkeypatch.context() as patched:
            patched.setattr(kind, "pulse", pulse)
            with pytest.raises(KeyboardInterrupt):
                yield steps
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("more", [{"refit": True}, {"folds": 2}], ids=str)
def test_a_winner_trained_again_whole_predicts(
    colours: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    """Killed behind its last training, or before that had a checkpoint: to the same bits."""
    run = train(colours, out=tmp_path / "run", **more)
    assert run.summary["winner"]["refit"]
    images = sorted(colours.rglob("*.png"))
    found = veduta.predict(run.directory.path, images[::7], out=tmp_path / "p", console=QUIET)
    assert len(found.table) == len(images[::7])
    for name, lost in (("kept", False), ("lost", True)):
        path = Path(shutil.copytree(run.directory.path, tmp_path / name))
        cut(path, "selected")
        (kept,) = (path / "checkpoints").glob("*.again-*")
        if lost:
            kept.unlink()
        expect_same(train(resume=path), run)


def test_an_interrupt_of_the_last_training_leaves_a_checkpoint(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(colours, out=tmp_path / "whole", refit=True)
    with interrupted(again.Refit, monkeypatch) as steps:
        train(colours, out=tmp_path / "run", checkpoint_seconds=1000, refit=True)
    (kept,) = (tmp_path / "run" / "checkpoints").glob("*.again-*")
    found = read_checkpoint(kept)
    assert found is not None
    (training,) = found.progress["trainings"]
    assert (training["epoch"], training["step"]) == (1, len(steps))
    expect_same(train(resume=tmp_path / "run"), whole)


def test_an_interrupt_ends_the_workers_and_leaves_a_checkpoint(
    whole: Run, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = threading.active_count()
    with interrupted(serial._Work, monkeypatch) as steps:
        train(colours, out=tmp_path / "run", checkpoint_seconds=1000)
    assert threading.active_count() == threads
    assert len(steps) <= 5, "the step under way is the last one"
    trial = whole.summary["winner"]["trial"]
    found = Checkpoints(tmp_path / "run" / "checkpoints", trial).newest()
    assert found is not None
    (training,) = found.progress["trainings"]
    assert (training["epoch"], training["step"]) == (1, len(steps))
    expect_same(train(resume=tmp_path / "run"), whole)


def test_a_full_disk_ends_the_run_with_an_error_of_ours(
    whole: Run, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = checkpoints.write_atomically, 0

    def write(path: Path, *content: bytes) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError(28, "No space left on device")
        real(path, *content)

    monkeypatch.setattr(checkpoints, "write_atomically", write)
    monkeypatch.setattr(keeper, "SHARE", 0)  # or a slow disk would be spared
    with pytest.raises(VedutaError, match="have room until the work is done; No space left"):
        train(colours, out=tmp_path / "run")
    assert len([*(tmp_path / "run" / "checkpoints").iterdir()]) == 2
    assert not events(tmp_path / "run", "trial finished")
    monkeypatch.undo()
    expect_same(train(resume=tmp_path / "run"), whole)


def test_a_longer_training_is_the_one_that_was_as_long_from_the_start(
    whole: Run, colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    longer = train(colours, out=tmp_path / "longer", epochs=5)
    path = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    capfd.readouterr()
    run = train(resume=path, epochs=5)
    assert "schedule" not in capfd.readouterr().err
    expect_same(run, longer)
    times = pd.read_csv(path / "epochs.csv")["seconds"].tolist()
    assert times[:3] == whole.epochs["seconds"].tolist(), "the first epochs were not trained again"
    assert run.summary["test"]["opened"] == 2
    expect_same(train(resume=path), longer)  # nothing is left to do
    with pytest.raises(InputError, match="epochs was 5, now it is 4"):
        train(resume=path, epochs=4)


def test_a_longer_training_that_is_killed_goes_on(
    whole: Run, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = train(colours, out=tmp_path / "longer", epochs=5)
    path = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    real, made = serial._Work.pulse, 0

    def pulse(self: Any, images: int) -> None:
        nonlocal made
        made += 1
        if made == 8:
            raise SystemExit("a death")  # an Exception would be a trial that has failed
        real(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(serial._Work, "pulse", pulse)
        with pytest.raises(SystemExit, match="a death"):
            train(resume=path, epochs=5)
    expect_same(train(resume=path), longer)


def test_a_schedule_that_was_shorter_is_told(
    colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(colours, out=tmp_path / "run", schedule="cosine", epochs=2)
    capfd.readouterr()
    run = train(resume=tmp_path / "run", epochs=3)
    assert "the first epochs had the cosine schedule of the shorter" in capfd.readouterr().err
    assert len(run.epochs) == 3


def test_heads_of_a_frozen_backbone_start_anew_and_nothing_else_is_told(
    colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """They are trained together, without checkpoints."""
    values = {"image_size": 32, "weights": "none", "engine": "torch", "schedule": "cosine"}
    common = {"console": QUIET, **values}
    veduta.train(colours, out=tmp_path / "run", epochs=2, **common)
    longer = veduta.train(colours, out=tmp_path / "longer", epochs=4, **common)
    capfd.readouterr()
    run = veduta.train(resume=tmp_path / "run", epochs=4, console=QUIET)
    assert "schedule" not in capfd.readouterr().err
    expect_same(run, longer)


def test_more_epochs_in_a_grid_go_on_where_rates_do_not_depend_on_them(
    colours: Path, tmp_path: Path
) -> None:
    grid = {"schedule": ["constant", "cosine"]}
    common = {k: v for k, v in CNN.items() if k not in {"schedule", "epochs"}} | {"console": QUIET}
    path = tmp_path / "run"
    veduta.search(colours, grid=grid, out=path, epochs=2, **common)
    run = veduta.search(resume=path, grid={"epochs": [3]}, console=QUIET)
    both = {**grid, "epochs": [2, 3]}
    at_once = veduta.search(colours, grid=both, out=tmp_path / "whole", **common)
    expect_same(run, at_once)


def test_threads_and_products_are_decided_once(
    whole: Run, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(*_: object, **__: object) -> dict[str, float]:
        asked.append(1)
        return {"f32_seconds": 1.0, "bf16_seconds": 0.5}

    monkeypatch.setattr(decided, "faster_in_bf16", measured)
    monkeypatch.setattr(decided, "processors", lambda: 1)
    run = train(colours, out=tmp_path / "run", amp="auto")
    assert len(asked) == 1
    (event,) = events(run, "means")
    assert (event["threads"], event["products"]) == (1, "bf16")
    assert event["f32_seconds"] == 1.0
    kinds = [event["event"] for event in read_journal(run.directory.journal)]
    assert kinds.index("means") < kinds.index("trial started")

    monkeypatch.setattr(decided, "processors", lambda: 64)
    monkeypatch.setattr(decided, "faster_in_bf16", lambda *_: pytest.fail("it was decided"))
    path = Path(shutil.copytree(run.directory.path, tmp_path / "again"))
    cut(path, "trial started")
    shutil.rmtree(path / "checkpoints")
    expect_same(train(resume=path), run)
    assert len(events(path, "means")) == 1
    assert untimed(run.directory.epochs) != untimed(whole.directory.epochs), "bf16 rounds"


def test_a_network_alone_has_all_processors_and_several_have_one_each(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decided, "processors", lambda: 2)
    common = {k: v for k, v in CNN.items() if k != "lr"} | {"epochs": 2, "console": QUIET}
    grid = {"lr": [1e-3, 1e-2]}
    runs = [
        train(colours, out=tmp_path / "one", epochs=1),
        veduta.search(colours, grid=grid, out=tmp_path / "two", **common),
        veduta.search(colours, grid=grid, out=tmp_path / "halved", halving=2, **common),
    ]
    assert [events(run, "means")[0]["threads"] for run in runs] == [2, 1, 2]


def test_a7_a_run_of_a_version_that_names_trials_otherwise_is_refused(
    whole: Run, tmp_path: Path
) -> None:
    """Else all of its trials would be run again, without a word."""
    path = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    trial = whole.summary["winner"]["trial"]
    found = read_journal(path / "journal.jsonl")
    found[0]["versions"]["veduta"] = "0.0.1"
    text = b"".join(encode({k: v for k, v in event.items() if k != "crc32"}) for event in found)
    (path / "journal.jsonl").write_bytes(text)
    assert train(resume=path).directory.path == path
    lines = [
        {**event, "trials": ["t000000000"]} if event["event"] == "plan" else event
        for event in found
    ]
    (path / "journal.jsonl").write_bytes(b"".join(map(encode, lines)))
    with pytest.raises(InputError) as caught:
        train(resume=path)
    assert "was begun by version 0.0.1" in str(caught.value)
    assert "such as t000000000" in str(caught.value)
    assert trial not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="asks for processors")
def test_the_memory_of_whole_networks_is_planned(whole: Run) -> None:
    (event,) = events(whole, "residency")
    assert event["tiles"] == event["side_by_side"] == 1
    assert event["largest"] > 10**5
