"""Trials that fail in every way: the others continue, and the journal has cause and reason."""

import math
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.faults.command_processes import NETWORKS, CommandServer
from tests.support.journals import make_run_started, make_summary, make_trial_started
from tests.support.killed_trainings import run_in_child
from tests.support.trials import create_small_examples as examples
from veduta.config.settings import Settings
from veduta.errors import VedutaError
from veduta.experiment.recovery.previous_run import journal_crash
from veduta.optim.optimizers import set_learning_rate
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory
from veduta.runs.events import (
    Event,
    RunFinished,
    TrialEnded,
    TrialFailed,
    TrialPaused,
    TrialStarted,
    events_of_type,
)
from veduta.runs.journal import Journal, read_journal
from veduta.runs.summary import read_run_summary
from veduta.runtime.process import TILE_THREAD, IdleTimer
from veduta.tracking.tables import build_trials_table
from veduta.training import loop
from veduta.training.folds import create_single_fold
from veduta.training.step import NotFiniteError
from veduta.tuning import study as study_module
from veduta.tuning.executors import pool as pool_module
from veduta.tuning.executors.fused.executor import run_fused
from veduta.tuning.executors.serial import TrainingContext, run_serial
from veduta.tuning.previous_trials import reload_trials
from veduta.tuning.recorder import Recorder, StudyPaths
from veduta.tuning.study import ExecutionConfig, Study
from veduta.tuning.trials import checkpointing as checkpointing_module
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.space import Tile, Trial, build_trial
from veduta.types import ignore_progress

FOLDS = create_single_fold(examples(60, 0), examples(30, 1))
CLASSES = 3

Run = Callable[..., Any]


def make_trial(**settings: Any) -> Trial:
    """Return a trial of two epochs with these settings."""
    return build_trial(Settings(**{"epochs": 2, **settings}))


LINEAR, DEEP, WIDE = make_trial(), make_trial(hidden=(7,)), make_trial(hidden=(9,))  # three groups


@dataclass
class SearchResult:
    """The recorder, the events and the warnings of a search."""

    recorder: Recorder
    events: list[Event]
    warnings: list[str]

    def find_failures(self) -> dict[str, tuple[str, str]]:
        """Return cause and reason of the trials that failed."""
        failures = events_of_type(self.events, TrialFailed)
        return {failure.trial: (failure.cause, failure.reason) for failure in failures}

    def find_statuses(self) -> dict[str, str]:
        """Return the status of every trial."""
        table = build_trials_table(self.events)
        return dict(zip(table["trial"], table["status"], strict=True))


def search(
    folder: Path, trials: Sequence[Trial], *, max_failures: int | None = None, **options: Any
) -> SearchResult:
    """Run a study, or continue the one in `folder`."""
    folder.mkdir(exist_ok=True)
    path, warnings = folder / "journal.jsonl", list[str]()
    paths = StudyPaths(*(folder / name for name in ("tensorboard", "scores", "checkpoints")))
    with Journal.reopen(path) if path.is_file() else Journal(path) as journal:
        previous = reload_trials(journal.events, trials, scores=paths.scores, ages={})
        recorder = Recorder(trials, journal, paths, max_failures=max_failures)
        config = ExecutionConfig(CLASSES, warn=warnings.append, **options)
        Study(recorder, config, previous).run(lambda _: FOLDS, ignore_progress)
    return SearchResult(recorder, journal.events, warnings)


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Run]], None]:
    """Replace the executor of some tiles; the keys are the ids of their first trials."""

    def replace_executors(executors: dict[str, Run]) -> None:
        def run(tile: Tile, *args: Any, **options: Any) -> Any:
            return executors.get(tile[0].id, run_fused)(tile, *args, **options)

        monkeypatch.setattr(study_module, "run_fused", run)

    return replace_executors


def fail_with(error: BaseException, after: int = 1) -> Run:
    """Return an executor that raises an error after some epochs."""

    def run(tile: Tile, *args: Any, **options: Any) -> Iterator[Any]:
        epochs = run_fused(tile, *args, **options)
        for _ in range(after):
            yield next(epochs)
        raise error

    return run


def test_a_trial_that_raises_fails_with_its_reason_and_the_search_continues(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None]
) -> None:
    inject({DEEP.id: fail_with(KeyError("a bug")), WIDE.id: fail_with(ZeroDivisionError(), 0)})
    result = search(tmp_path, [DEEP, LINEAR, WIDE])
    assert [outcome.trial for outcome in result.recorder.outcomes] == [LINEAR.id]
    assert result.recorder.best is not None
    assert result.recorder.best.outcome.trial == LINEAR.id
    (cause, reason), (other_cause, other_reason) = (
        result.find_failures()[trial.id] for trial in (DEEP, WIDE)
    )
    assert (cause, other_cause) == ("raised", "raised")
    assert reason.startswith("KeyError: 'a bug' (test_failing_trials.py, line ")
    assert other_reason.startswith("ZeroDivisionError (")
    assert result.recorder.failures == {DEEP.id: reason, WIDE.id: other_reason}
    assert result.find_statuses() == {DEEP.id: "failed", LINEAR.id: "finished", WIDE.id: "failed"}


@pytest.mark.parametrize(
    ("limit", "second", "stops"), [(2, "raises", True), (3, "raises", False), (2, "ends", False)]
)
def test_too_many_failures_in_a_row_stop_the_search(
    tmp_path: Path,
    inject: Callable[[dict[str, Run]], None],
    limit: int,
    second: str,
    stops: bool,
) -> None:
    faults = {DEEP.id: fail_with(ValueError("no")), WIDE.id: fail_with(ValueError("nor that"))}
    inject(faults)
    order = [DEEP, WIDE, LINEAR] if second == "raises" else [DEEP, LINEAR, WIDE]
    if not stops:
        result = search(tmp_path, order, max_failures=limit)
        assert [outcome.trial for outcome in result.recorder.outcomes] == [LINEAR.id]
        return
    with pytest.raises(VedutaError, match=r"max_failures=2.*ValueError: nor that"):
        search(tmp_path, order, max_failures=limit)
    events = read_journal(tmp_path / "journal.jsonl")
    assert [event.trial for event in events_of_type(events, TrialEnded)] == [DEEP.id, WIDE.id]


def test_divergence_does_not_count_as_a_failure_in_a_row(tmp_path: Path) -> None:
    diverging = [make_trial(lr=1e38, optimizer="sgd", hidden=(n,)) for n in (3, 4, 5, 6)]
    result = search(tmp_path, [*diverging, LINEAR], max_failures=1)
    assert {cause for cause, _ in result.find_failures().values()} == {"diverged"}
    assert len(result.recorder.failures) == 4
    assert [outcome.trial for outcome in result.recorder.outcomes] == [LINEAR.id]


def test_a_training_that_hangs_is_given_up(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, ticking, released = [0.0], threading.Event(), threading.Event()

    def clock() -> float:
        """Return a time that advances one second per call while the training hangs."""
        now[0] += ticking.is_set()
        return now[0]

    def hang(tile: Tile, *args: Any, **options: Any) -> Iterator[Any]:
        epochs = run_fused(tile, *args, **options)
        yield next(epochs)
        ticking.set()
        released.wait()
        yield from epochs

    def train(tile: Tile, *args: Any, **options: Any) -> Iterator[Any]:
        ticking.clear()
        yield from run_fused(tile, *args, **options)

    monkeypatch.setattr(pool_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(pool_module, "IdleTimer", lambda: IdleTimer(clock))
    inject({DEEP.id: hang, LINEAR.id: train})
    result = search(tmp_path, [DEEP, LINEAR], hang_seconds=30, memory_limit=1)
    (thread,) = [t for t in threading.enumerate() if t.name == TILE_THREAD]
    assert thread.daemon, "it does not keep the process alive"
    cause, reason = result.find_failures()[DEEP.id]
    assert cause == "hung"
    assert "30 s" in reason
    assert "--hang-seconds" in reason
    assert result.find_statuses() == {DEEP.id: "failed", LINEAR.id: "finished"}
    events = read_journal(tmp_path / "journal.jsonl")
    released.set()
    thread.join()
    assert read_journal(tmp_path / "journal.jsonl") == events, "its later results are ignored"


def test_a_slow_training_is_not_given_up(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step counts, not every epoch; a step takes a second of an artificial clock."""
    now, pause = [0.0], threading.Event()

    def train_slowly(
        tile: Tile, *args: Any, heartbeat: Callable[[int], bool], **options: Any
    ) -> Iterator[Any]:
        def advance(images: int) -> bool:
            now[0] += 1
            pause.wait(0.05)  # so that the pool looks at the timer
            return heartbeat(images)

        return run_fused(tile, *args, heartbeat=advance, **options)

    monkeypatch.setattr(pool_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(pool_module, "IdleTimer", lambda: IdleTimer(lambda: now[0]))
    inject({DEEP.id: train_slowly})
    result = search(tmp_path, [DEEP], hang_seconds=2.5)
    assert now[0] > 2.5
    assert not result.recorder.failures


def test_trials_are_tried_again_unless_they_diverged(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None]
) -> None:
    diverging = make_trial(lr=1e38, optimizer="sgd")
    trials = [DEEP, diverging, LINEAR]
    inject({DEEP.id: fail_with(MemoryError())})
    first = search(tmp_path, trials)
    assert first.find_failures()[DEEP.id] == ("memory", "out of memory")
    inject({})
    again = search(tmp_path, trials)
    assert set(again.recorder.failures) == {diverging.id}
    started = [event.trial for event in events_of_type(again.events, TrialStarted)]
    assert sorted(started) == sorted([*(trial.id for trial in trials), DEEP.id])
    assert again.find_statuses()[DEEP.id] == "finished"


def test_failed_trials_of_a_finished_run_are_not_tried_again(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None]
) -> None:
    inject({DEEP.id: fail_with(MemoryError())})
    search(tmp_path, [DEEP, LINEAR])
    with Journal.reopen(tmp_path / "journal.jsonl") as journal:
        journal.append(RunFinished(summary=make_summary()))
    inject({})
    again = search(tmp_path, [DEEP, LINEAR, WIDE])
    assert again.find_statuses() == {DEEP.id: "failed", LINEAR.id: "finished", WIDE.id: "finished"}


def test_a_trial_that_failed_in_a_later_round_of_halving_is_not_ranked(tmp_path: Path) -> None:
    """Its outcome of the round before would be promoted instead of a trial that has not failed."""
    result = search(tmp_path, [LINEAR, DEEP])
    paused = {LINEAR.id: result.recorder.outcomes[0]}
    with Journal(tmp_path / "other.jsonl") as journal:
        recorder = Recorder([LINEAR, DEEP], journal, result.recorder.paths, paused=paused)
        assert recorder.rank_trials([LINEAR, DEEP]) == [LINEAR.id]
        recorder._record_failure(LINEAR, ValueError("later"))
    assert recorder.rank_trials([LINEAR, DEEP]) == []


def test_a_trial_that_crashes_the_process_twice_has_failed(
    command_server: CommandServer, color_folder: Path, tmp_path: Path
) -> None:
    """After the first crash it is run again alone."""
    words = (*NETWORKS, "--grid", "lr=1e-3,1e-2,1e-1", "--epochs", "3", "--out", "run")
    code, process = command_server.run(tmp_path, "search", color_folder, *words, fault="crash")
    assert code == -signal.SIGSEGV
    assert "Segmentation fault" in (tmp_path / "run" / "crash.log").read_text()
    code, process = command_server.run(tmp_path, "search", "--resume", "run", fault="crash")
    assert code == -signal.SIGSEGV
    code, process = command_server.run(tmp_path, "search", "--resume", "run", fault="crash")
    assert code == 3, process.read_stderr()
    assert not (tmp_path / "run" / "crash.log").exists()
    assert read_run_summary(tmp_path / "run" / "summary.json").failed_trials == 1
    trials = pd.read_csv(tmp_path / "run" / "trials.csv").set_index("lr")
    assert dict(trials["status"]) == {1e-3: "finished", 1e-2: "failed", 1e-1: "finished"}
    (failure,) = events_of_type(process.read_events(), TrialFailed)
    assert failure.cause == "crashed"
    assert "crashed 2 times" in failure.reason
    assert "Segmentation fault" in failure.reason


def have_same_results(one: Any, other: Any) -> bool:
    """Return whether two trials have the same weights and logits to the last bit."""
    return all(
        torch.equal(tensor, other.network.state_dict()[name])
        for name, tensor in one.network.state_dict().items()
    ) and torch.equal(one.val_logits, other.val_logits)


def test_a_trial_that_diverges_does_not_change_the_others_of_its_tile() -> None:
    """Not even their last bit; divergence is detected in its epoch."""
    rates = (1e-3, 3e-3, 1e-2, 3e-2)
    kinds: dict[str, dict[str, Any]] = {"bad": {"lr": 1e38}, "mild": {"lr": 2e-3}}
    ends: dict[str, dict[str, Any]] = {}
    for kind, values in kinds.items():
        good = [make_trial(optimizer="sgd", epochs=3, lr=lr) for lr in rates]
        tile = (*good[:2], make_trial(optimizer="sgd", epochs=3, **values), *good[2:])
        epochs = list(run_fused(tile, FOLDS, classes=CLASSES))
        ends[kind] = {trial.id: end for epoch in epochs for trial, end in epoch.ended}
        if kind == "bad":
            first_ends = {trial.id: end for trial, end in epochs[0].ended}
            assert isinstance(first_ends[tile[2].id], NotFiniteError)
    for trial in good:
        assert have_same_results(ends["bad"][trial.id], ends["mild"][trial.id])


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_divergence_is_detected_in_its_step_and_the_last_finite_checkpoint_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The learning rate explodes after three steps; every finite step is saved, no other."""
    steps = 0
    trial = make_trial(optimizer="sgd", lr=1e-3, batch_size=10, epochs=1)

    def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
        nonlocal steps
        steps += 1
        set_learning_rate(optimizer, lr if steps <= 3 else 3e38)
        if steps == 5 and broken == "gradient":
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.data = torch.zeros_like(parameter)
                    parameter.register_hook(lambda gradient: gradient * math.inf)

    monkeypatch.setattr(loop, "set_learning_rate", set_rate)
    monkeypatch.setattr(checkpointing_module, "TIME_RATIO", 0)
    checkpointer = Checkpointer(Checkpoints(tmp_path, "trial"), interval_seconds=0.0)
    folds = create_single_fold(scale_features(examples(60, 0), 1e3), examples(30, 1))
    context = TrainingContext(CLASSES)
    epochs = list(run_serial((trial,), folds, context=context, checkpointer=checkpointer))
    ((_, end),) = epochs[-1].ended
    assert isinstance(end, NotFiniteError)
    assert broken in str(end)
    assert not epochs[-1].epochs
    assert steps == 5, "in the very next step"
    checkpoint = Checkpoints(tmp_path, "trial").load_newest()
    assert checkpoint is not None
    assert checkpoint.progress["trainings"][0]["step"] == 3
    assert all(tensor.isfinite().all() for tensor in checkpoint.tensors.values())


def scale_features(images: Any, factor: float) -> Any:
    """Return examples whose features are multiplied by a factor."""
    features = images.features * factor
    assert isinstance(features, Tensor)
    return type(images)(features, images.labels, images.keys)


def test_images_of_one_color_give_a_finite_model(
    command_server: CommandServer, tmp_path: Path
) -> None:
    from PIL import Image

    for label in ("left", "right"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.full((20, 20, 3), 100 if label == "left" else 101, np.uint8)
            pixels[0, 0] = number  # identical files would be one image
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    code, process = command_server.run(
        tmp_path, "search", "data", *NETWORKS, "--hidden", "4", "--batch-norm",
        "--grid", "lr=1e-3,1e6,1e30", "--optimizer", "sgd", "--epochs", "2", "--out", "run",
    )  # fmt: skip
    assert code == 3, process.read_stderr()
    summary = read_run_summary(tmp_path / "run" / "summary.json")
    assert summary.winner.hyperparameters["lr"] == 1e-3
    table = pd.read_csv(tmp_path / "run" / "trials.csv").set_index("lr")
    statuses = dict(table["status"])
    assert (statuses[1e-3], statuses[1e30]) == ("finished", "failed")


def test_a_tile_without_room_beside_others_is_run_again_alone(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its results are the same to the last bit; tiles and batches do not change."""
    trials = [make_trial(lr=lr, hidden=(300, 300), epochs=2) for lr in (1e-3, 2e-3, 3e-3, 4e-3)]
    monkeypatch.setattr(
        study_module, "plan_tiles", lambda group, _: [tuple(group[:2]), tuple(group[2:])]
    )
    monkeypatch.setattr(study_module, "count_concurrent_tiles", lambda *_: 2)
    whole = search(tmp_path / "whole", trials)
    attempts: list[str] = []

    def run_out_of_memory_once(tile: Tile, *args: Any, **options: Any) -> Iterator[Any]:
        epochs = run_fused(tile, *args, **options)
        yield next(epochs)
        attempts.append(tile[0].id)
        if len(attempts) == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
        yield from epochs

    inject({trials[0].id: run_out_of_memory_once})
    result = search(tmp_path / "crowded", trials)
    assert attempts == [trials[0].id] * 2
    (warning,) = result.warnings
    assert "2 trials" in warning
    assert not result.recorder.failures
    own, expected = (
        build_trials_table(one.events).drop(columns="seconds") for one in (result, whole)
    )
    pd.testing.assert_frame_equal(own, expected, check_exact=True)


def test_a_tile_with_an_ended_trial_is_not_run_again(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ended trial keeps its outcome; the other one has failed and may be tried again."""
    short, long, *others = (
        make_trial(lr=lr, epochs=n) for lr, n in ((1e-3, 1), (2e-3, 3), (3e-3, 3))
    )
    monkeypatch.setattr(study_module, "plan_tiles", lambda *_: [(short, long), tuple(others)])
    monkeypatch.setattr(study_module, "count_concurrent_tiles", lambda *_: 2)
    inject({short.id: fail_with(MemoryError("too large"), after=2)})
    result = search(tmp_path, [short, long, *others])
    assert [outcome.trial for outcome in result.recorder.outcomes].count(short.id) == 1
    assert result.find_failures() == {long.id: ("memory", "out of memory: too large")}
    assert result.warnings == []


def test_a_paused_trial_is_not_blamed_for_a_crash(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with Journal(directory.journal) as journal:
        for _ in range(2):
            journal.append(make_run_started())
            for name in ("paused", "crashing"):
                journal.append(make_trial_started(name))
                if name == "paused":
                    journal.append(TrialPaused(trial=name))
            directory.crash_log.write_text("Fatal Python error: Segmentation fault\n")
            journal_crash(directory, journal)
        failures = events_of_type(journal.events, TrialFailed)
    assert [failure.trial for failure in failures] == ["crashing"]


def test_a_trial_without_room_in_a_limited_process_fails_alone(tmp_path: Path) -> None:
    """The address space of a child process is limited, so that torch cannot allocate memory."""
    huge = make_trial(hidden=(12_000, 12_000), epochs=1)  # its weights take 576 MB

    def search_with_limit(_: Callable[[], object]) -> None:
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 400 * 2**20,) * 2)
        result = search(tmp_path, [LINEAR, huge], memory_limit=10**12)
        cause, reason = result.find_failures()[huge.id]
        assert cause == "memory", reason
        assert reason.startswith("out of memory: ")
        assert result.find_statuses() == {LINEAR.id: "finished", huge.id: "failed"}

    code, _ = run_in_child(search_with_limit)
    assert code == 0
