"""Trials that fail, in every way there is: the others go on, and the journal says why."""

import json
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

from tests.faults.running import NETWORKS, Commands
from tests.tuning.killed import attempt
from tests.tuning.test_study import examples
from veduta.config.settings import Settings
from veduta.errors import VedutaError
from veduta.experiment.recovery.previous_run import note_crash
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory
from veduta.runs.journal import Event, Journal, read_journal
from veduta.runtime.process import Idle
from veduta.tracking.tables import trials_table
from veduta.training import loop
from veduta.training.folds import undivided
from veduta.training.step import NotFiniteError
from veduta.tuning import study as module
from veduta.tuning.executors import pool as workers
from veduta.tuning.executors.fused.executor import run_tile
from veduta.tuning.executors.serial import Way, run_alone
from veduta.tuning.previous_trials import reload
from veduta.tuning.recorder import Places, Record
from veduta.tuning.study import Means, Study
from veduta.tuning.trials import checkpointing as keeper_rules
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.groups import Tile
from veduta.tuning.trials.space import Trial, trial_of

FOLDS = undivided(examples(60, 0), examples(30, 1))
CLASSES = 3

Run = Callable[..., Any]


def of(**settings: Any) -> Trial:
    return trial_of(Settings(**{"epochs": 2, **settings}))


LINEAR, DEEP, WIDE = of(), of(hidden=(7,)), of(hidden=(9,))  # a group each, one after the other


@dataclass
class Searched:
    record: Record
    events: list[Event]
    warnings: list[str]

    def ends(self) -> dict[str, tuple[str, str]]:
        """How trials that failed did: cause and reason."""
        ended = [e for e in self.events if e["event"] == "trial finished"]
        return {e["trial"]: (e["cause"], e["reason"]) for e in ended if e["status"] == "failed"}

    def statuses(self) -> dict[str, str]:
        table = trials_table(self.events)
        return dict(zip(table["trial"], table["status"], strict=True))


def search(
    folder: Path, trials: Sequence[Trial], *, max_failures: int | None = None, **means: Any
) -> Searched:
    """Run a study, or go on with the one in `folder`."""
    folder.mkdir(exist_ok=True)
    path, warnings = folder / "journal.jsonl", list[str]()
    places = Places(*(folder / name for name in ("tensorboard", "scores", "checkpoints")))
    with Journal.reopened(path) if path.is_file() else Journal(path) as journal:
        past = reload(journal.events, trials, scores=places.scores, ages={})
        record = Record(trials, journal, places, max_failures=max_failures)
        study = Study(record, Means(CLASSES, warn=warnings.append, **means), past)
        study.run(lambda _: FOLDS, lambda *_: None)
    return Searched(record, journal.events, warnings)


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Run]], None]:
    """Let tiles of some trials go wrong: what is run in their place, by name of the first trial."""

    def put(faults: dict[str, Run]) -> None:
        def faulty(tile: Tile, *args: Any, **kwargs: Any) -> Any:
            return faults.get(tile[0].id, run_tile)(tile, *args, **kwargs)

        monkeypatch.setattr(module, "run_tile", faulty)

    return put


def raising(error: BaseException, after: int = 1) -> Run:
    """A tile that goes well for some epochs, and then raises."""

    def run(tile: Tile, *args: Any, **kwargs: Any) -> Iterator[Any]:
        epochs = run_tile(tile, *args, **kwargs)
        for _ in range(after):
            yield next(epochs)
        raise error

    return run


def test_a6_a_trial_that_raises_has_failed_with_its_reason_and_the_search_goes_on(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None]
) -> None:
    inject({DEEP.id: raising(KeyError("a bug")), WIDE.id: raising(ZeroDivisionError(), 0)})
    found = search(tmp_path, [DEEP, LINEAR, WIDE])
    assert [outcome.trial for outcome in found.record.outcomes] == [LINEAR.id]
    assert found.record.best is not None
    assert found.record.best.outcome.trial == LINEAR.id
    (cause, reason), (other, why) = (found.ends()[trial.id] for trial in (DEEP, WIDE))
    assert (cause, other) == ("raised", "raised")
    assert reason.startswith("KeyError: 'a bug' (test_failing_trials.py, line ")
    assert why.startswith("ZeroDivisionError (")
    assert found.record.failed == {DEEP.id: reason, WIDE.id: why}
    assert found.statuses() == {DEEP.id: "failed", LINEAR.id: "finished", WIDE.id: "failed"}


@pytest.mark.parametrize(
    ("most", "second", "stops"), [(2, "raises", True), (3, "raises", False), (2, "ends", False)]
)
def test_a6_too_many_failures_in_a_row_stop_it(
    tmp_path: Path,
    inject: Callable[[dict[str, Run]], None],
    most: int,
    second: str,
    stops: bool,
) -> None:
    faults = {DEEP.id: raising(ValueError("no")), WIDE.id: raising(ValueError("nor that"))}
    inject(faults)
    order = [DEEP, WIDE, LINEAR] if second == "raises" else [DEEP, LINEAR, WIDE]
    if not stops:
        found = search(tmp_path, order, max_failures=most)
        assert [outcome.trial for outcome in found.record.outcomes] == [LINEAR.id]
        return
    with pytest.raises(VedutaError, match=r"max_failures=2\); the last one: ValueError: nor that"):
        search(tmp_path, order, max_failures=most)
    events = read_journal(tmp_path / "journal.jsonl")
    assert [e["trial"] for e in events if e["event"] == "trial finished"] == [DEEP.id, WIDE.id]


def test_a6_diverging_is_a_finding_of_which_there_may_be_many(tmp_path: Path) -> None:
    broken = [of(lr=1e38, optimizer="sgd", hidden=(n,)) for n in (3, 4, 5, 6)]
    found = search(tmp_path, [*broken, LINEAR], max_failures=1)
    assert {cause for cause, _ in found.ends().values()} == {"diverged"}
    assert len(found.record.failed) == 4
    assert [outcome.trial for outcome in found.record.outcomes] == [LINEAR.id]


def test_a6_a_training_that_hangs_is_given_up(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, ticking, woken = [0.0], threading.Event(), threading.Event()

    def clock() -> float:
        """Seconds pass, one a look, while the training hangs."""
        now[0] += ticking.is_set()
        return now[0]

    def hanging(tile: Tile, *args: Any, **kwargs: Any) -> Iterator[Any]:
        epochs = run_tile(tile, *args, **kwargs)
        yield next(epochs)
        ticking.set()
        woken.wait()
        yield from epochs

    def healthy(tile: Tile, *args: Any, **kwargs: Any) -> Iterator[Any]:
        ticking.clear()
        yield from run_tile(tile, *args, **kwargs)

    monkeypatch.setattr(workers, "POLL", 0.02)
    monkeypatch.setattr(workers, "Idle", lambda: Idle(clock))
    inject({DEEP.id: hanging, LINEAR.id: healthy})
    found = search(tmp_path, [DEEP, LINEAR], hang_seconds=30, allowed=1)
    (thread,) = [one for one in threading.enumerate() if one.name == "tile"]
    assert thread.daemon, "the process can end"
    cause, reason = found.ends()[DEEP.id]
    assert cause == "hung"
    assert "at least every 30 s" in reason
    assert "--hang-seconds" in reason
    assert found.statuses() == {DEEP.id: "failed", LINEAR.id: "finished"}
    known = read_journal(tmp_path / "journal.jsonl")
    woken.set()
    thread.join()
    assert read_journal(tmp_path / "journal.jsonl") == known, "what it does then is not heard"


def test_a6_slow_is_not_hung(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step counts, not every epoch: each takes a second, on a clock of its own."""
    now, pause = [0.0], threading.Event()

    def slow(tile: Tile, *args: Any, beat: Callable[[int], bool], **kwargs: Any) -> Iterator[Any]:
        def slowly(images: int) -> bool:
            now[0] += 1
            pause.wait(0.05)  # so that somebody looks
            return beat(images)

        return run_tile(tile, *args, beat=slowly, **kwargs)

    monkeypatch.setattr(workers, "POLL", 0.02)
    monkeypatch.setattr(workers, "Idle", lambda: Idle(lambda: now[0]))
    inject({DEEP.id: slow})
    found = search(tmp_path, [DEEP], hang_seconds=2.5)
    assert now[0] > 2.5
    assert not found.record.failed


def test_a6_what_failed_by_chance_is_tried_again_and_what_diverged_is_not(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None]
) -> None:
    diverging = of(lr=1e38, optimizer="sgd")
    trials = [DEEP, diverging, LINEAR]
    inject({DEEP.id: raising(MemoryError())})
    first = search(tmp_path, trials)
    assert first.ends()[DEEP.id] == ("memory", "out of memory")
    inject({})
    again = search(tmp_path, trials)
    assert set(again.record.failed) == {diverging.id}
    started = [e["trial"] for e in again.events if e["event"] == "trial started"]
    assert sorted(started) == sorted([*(trial.id for trial in trials), DEEP.id])
    assert again.statuses()[DEEP.id] == "finished"


def test_a6_of_a_run_that_ended_failed_rows_stay(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None]
) -> None:
    inject({DEEP.id: raising(MemoryError())})
    search(tmp_path, [DEEP, LINEAR])
    with Journal.reopened(tmp_path / "journal.jsonl") as journal:
        journal.append("end")
    inject({})
    again = search(tmp_path, [DEEP, LINEAR, WIDE])
    assert again.statuses() == {DEEP.id: "failed", LINEAR.id: "finished", WIDE.id: "finished"}


def test_a6_of_a_trial_that_failed_later_no_round_of_halving_knows(tmp_path: Path) -> None:
    """What it was in the round before would be promoted in place of one that is alive."""
    found = search(tmp_path, [LINEAR, DEEP])
    outcome = found.record.outcomes[0]
    record = Record([LINEAR, DEEP], found.record.journal, found.record.places)
    record.paused = {LINEAR.id: outcome}
    with Journal(tmp_path / "other.jsonl") as record.journal:
        record._end(LINEAR, ValueError("later"))
    assert record.standing([LINEAR, DEEP]) == []


def test_a6_a_trial_at_which_the_process_crashes_is_got_past(
    forks: Commands, colours: Path, tmp_path: Path
) -> None:
    """Crashed once it is run again, by itself; crashed twice it has failed."""
    words = (*NETWORKS, "--grid", "lr=1e-3,1e-2,1e-1", "--epochs", "3", "--out", "run")
    code, running = forks.run(tmp_path, "search", colours, *words, fault="crash")
    assert code == -signal.SIGSEGV
    assert "Segmentation fault" in (tmp_path / "run" / "crash.log").read_text()
    code, running = forks.run(tmp_path, "search", "--resume", "run", fault="crash")
    assert code == -signal.SIGSEGV
    code, running = forks.run(tmp_path, "search", "--resume", "run", fault="crash")
    assert code == 3, running.said()
    assert not (tmp_path / "run" / "crash.log").exists()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["failed"] == 1
    trials = pd.read_csv(tmp_path / "run" / "trials.csv").set_index("lr")
    assert dict(trials["status"]) == {1e-3: "finished", 1e-2: "failed", 1e-1: "finished"}
    (reason,) = [e["reason"] for e in running.events() if e.get("cause") == "crashed"]
    assert reason == "the process crashed 2 times while it was trained: Segmentation fault"


def same(one: Any, other: Any) -> bool:
    return all(
        torch.equal(tensor, other.network.state_dict()[name])
        for name, tensor in one.network.state_dict().items()
    ) and torch.equal(one.val_logits, other.val_logits)


def test_b4_a_row_that_diverges_does_not_touch_its_neighbours() -> None:
    """To the last bit; it is noticed in the epoch, and never among the outcomes."""
    rates = (1e-3, 3e-3, 1e-2, 3e-2)
    kinds: dict[str, dict[str, Any]] = {"bad": {"lr": 1e38}, "mild": {"lr": 2e-3}}
    ends: dict[str, dict[str, Any]] = {}
    for kind, values in kinds.items():
        good = [of(optimizer="sgd", epochs=3, lr=lr) for lr in rates]
        tile = (*good[:2], of(optimizer="sgd", epochs=3, **values), *good[2:])
        came = list(run_tile(tile, FOLDS, classes=CLASSES))
        ends[kind] = {trial.id: end for one in came for trial, end in one.ended}
        if kind == "bad":
            first = {trial.id: end for trial, end in came[0].ended}
            assert isinstance(first[tile[2].id], NotFiniteError)
    for trial in good:
        assert same(ends["bad"][trial.id], ends["mild"][trial.id])


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_b4_not_finite_is_noticed_in_the_step_and_the_last_finite_checkpoint_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Rates that explode after three steps; every step is saved, none that is not finite."""
    real, made = loop.set_rate, 0
    trial = of(optimizer="sgd", lr=1e-3, batch_size=10, epochs=1)

    def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
        nonlocal made
        made += 1
        real(optimizer, lr if made <= 3 else 3e38)
        if made == 5 and broken == "gradient":
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.data = torch.zeros_like(parameter)
                    parameter.register_hook(lambda gradient: gradient * math.inf)

    monkeypatch.setattr(loop, "set_rate", set_rate)
    monkeypatch.setattr(keeper_rules, "SHARE", 0)
    keeper = Keeper(Checkpoints(tmp_path, "trial"), every=0.0)
    folds = undivided(_larger(examples(60, 0), 1e3), examples(30, 1))
    came = list(run_alone((trial,), folds, way=Way(CLASSES), keeper=keeper))
    ((_, end),) = came[-1].ended
    assert isinstance(end, NotFiniteError)
    assert str(end).startswith(f"the {broken} must stay finite")
    assert not came[-1].epochs
    assert made == 5, "in the very next step"
    found = Checkpoints(tmp_path, "trial").newest()
    assert found is not None
    assert found.progress["trainings"][0]["step"] == 3
    assert all(tensor.isfinite().all() for tensor in found.tensors.values())


def _larger(found: Any, factor: float) -> Any:
    features = found.features * factor
    assert isinstance(features, Tensor)
    return type(found)(features, found.labels, found.keys)


def test_b4_images_that_are_all_the_same_end_well(forks: Commands, tmp_path: Path) -> None:
    from PIL import Image

    for label in ("left", "right"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.full((20, 20, 3), 100 if label == "left" else 101, np.uint8)
            pixels[0, 0] = number  # no two files are alike, or they would be one image
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    code, running = forks.run(
        tmp_path, "search", "data", *NETWORKS, "--hidden", "4", "--batch-norm",
        "--grid", "lr=1e-3,1e6,1e30", "--optimizer", "sgd", "--epochs", "2", "--out", "run",
    )  # fmt: skip
    assert code == 3, running.said()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["winner"]["hyper_parameters"]["lr"] == 1e-3
    table = pd.read_csv(tmp_path / "run" / "trials.csv").set_index("lr")
    assert table.loc[1e-3, "status"] == "finished"
    assert table.loc[1e30, "status"] == "failed"


def test_b5_what_has_no_room_beside_others_is_run_again_alone(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bits that it comes to anyway; tiles and batches stay as they are."""
    trials = [of(lr=lr, hidden=(300, 300), epochs=2) for lr in (1e-3, 2e-3, 3e-3, 4e-3)]
    monkeypatch.setattr(module, "tiles", lambda group, _: [tuple(group[:2]), tuple(group[2:])])
    monkeypatch.setattr(module, "side_by_side_of", lambda *_: 2)
    whole = search(tmp_path / "whole", trials)
    tried: list[str] = []

    def crowded(tile: Tile, *args: Any, **kwargs: Any) -> Iterator[Any]:
        epochs = run_tile(tile, *args, **kwargs)
        yield next(epochs)
        tried.append(tile[0].id)
        if len(tried) == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
        yield from epochs

    inject({trials[0].id: crowded})
    found = search(tmp_path / "crowded", trials)
    assert tried == [trials[0].id] * 2
    assert found.warnings == ["memory ran out; 2 trials are run again, one tile at a time"]
    assert not found.record.failed
    tables = [trials_table(one.events).drop(columns="seconds") for one in (found, whole)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_b5_a_tile_of_which_a_trial_has_ended_is_not_run_again(
    tmp_path: Path, inject: Callable[[dict[str, Run]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that ended stands as it is, once; the other has failed, and may be tried again."""
    short, long, *others = (of(lr=lr, epochs=n) for lr, n in ((1e-3, 1), (2e-3, 3), (3e-3, 3)))
    monkeypatch.setattr(module, "tiles", lambda *_: [(short, long), tuple(others)])
    monkeypatch.setattr(module, "side_by_side_of", lambda *_: 2)
    inject({short.id: raising(MemoryError("too large"), after=2)})
    found = search(tmp_path, [short, long, *others])
    assert [one.trial for one in found.record.outcomes].count(short.id) == 1
    assert found.ends() == {long.id: ("memory", "out of memory: too large")}
    assert found.warnings == []


def test_a6_a_trial_that_waits_for_its_next_round_is_not_blamed_for_a_crash(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with Journal(directory.journal) as journal:
        for _ in range(2):
            journal.append("start")
            for name in ("waits", "crashes"):
                journal.append("trial started", trial=name)
                if name == "waits":
                    journal.append("trial paused", trial=name)
            directory.crash.write_text("Fatal Python error: Segmentation fault\n")
            note_crash(directory, journal)
        failed = [e["trial"] for e in journal.events if e["event"] == "trial finished"]
    assert failed == ["crashes"]


def test_b5_a_trial_with_no_room_in_a_limited_process_fails_alone(tmp_path: Path) -> None:
    """The address space of a child is limited for real, and torch's own allocator says no."""
    huge = of(hidden=(12_000, 12_000), epochs=1)  # 576 MB a copy of its weights

    def limited(_: Callable[[], None]) -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 400 * 2**20,) * 2)
        found = search(tmp_path, [LINEAR, huge], allowed=10**12)
        cause, reason = found.ends()[huge.id]
        assert cause == "memory", reason
        assert reason.startswith("out of memory: ")
        assert found.statuses() == {LINEAR.id: "finished", huge.id: "failed"}

    code, _ = attempt(limited)
    assert code == 0
