"""Searches and saves that are killed: at random moments, and at every call that writes."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import saves
from tests.faults.forks import (
    KILLED,
    TIMEOUT,
    Report,
    make_deadline,
    make_strace_options,
    run_attempt,
)
from tests.faults.small_search import (
    SMALL,
    expect_none,
    find_broken_files,
    find_resume_faults,
    list_leftovers,
    make_trials,
    read_results,
    search,
    search_in_child,
    search_small,
)
from tests.faults.system_calls import KILL, WRITING_CALLS, create_nothing, hit_every_call
from veduta.tuning.trials.space import Trial

KILLS, KILL_IN_EPOCH_EVERY = 200, 10
MAX_SHARE = 0.05
"""Longest time until a kill, as a share of the time that a fork takes for the whole search."""

RANDOM = random.Random(7)  # noqa: S311


def run_random_kills(folder: Path) -> dict[str, Any]:
    """Run searches one after the other that are killed at random moments; return their results."""
    trials = make_trials(8, 12)
    whole = search_in_child(folder / "whole", trials)
    start = time.monotonic()
    timed = run_attempt(partial(search, folder / "timed", trials, threads=True, warn=expect_none))
    max_seconds = MAX_SHARE * (time.monotonic() - start)
    assert timed.code == 0, timed.output
    needed_epochs = sum(trial.settings.epochs for trial in trials)
    searches: list[dict[str, Any]] = []
    total_kills = 0
    while total_kills < KILLS:
        path = folder / f"killed-{len(searches)}"
        kills, epochs = 0, 0
        while True:
            seconds = RANDOM.uniform(0, max_seconds) if total_kills < KILLS else TIMEOUT
            work = partial(search, path, trials, threads=True, warn=expect_none)
            if total_kills < KILLS and total_kills % KILL_IN_EPOCH_EVERY == 0:
                seconds = TIMEOUT
                work = partial(search_and_die, path, trials, RANDOM.randint(1, 4))
            attempt = run_attempt(work, must_die=make_deadline(seconds))
            epochs += attempt.output.count("done: epoch ")
            if attempt.code != KILLED:
                break
            kills, total_kills = kills + 1, total_kills + 1
        assert attempt.code == 0, attempt.output
        lines = (path / "trials.csv").read_text().splitlines()[1:]
        searches.append(
            {
                "kills": kills,
                "lost epochs": epochs - needed_epochs,
                "same results": read_results(path) == whole,
                "trials": [line.split(",")[0] for line in lines],
                "status": [line.split(",")[1] for line in lines],
                "leftovers": list_leftovers(path),
            }
        )
        shutil.rmtree(path)
    return {"kills": total_kills, "trials": [trial.id for trial in trials], "searches": searches}


def search_and_die(path: Path, trials: Sequence[Trial], epochs: int, report: Report) -> None:
    """Run a search that kills its process at the end of an epoch, however fast the machine is."""
    remaining = epochs

    def report_and_die(text: str) -> None:
        nonlocal remaining
        report(text)
        remaining -= 1
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    search(path, trials, report_and_die, threads=True, warn=expect_none)


def make_torn_run(folder: Path) -> Path:
    """Create a run that was killed in its second trial and whose journal has a torn line."""
    attempt = run_attempt(
        partial(search, folder, SMALL, warn=expect_none),
        strace_options=make_strace_options("write", KILL % 20),
    )
    assert attempt.code == KILLED
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"event":"epo')
    return folder


def kill_search_at_every_call(folder: Path) -> dict[str, Any]:
    """Kill a new search, and one that continues after a kill, at each of its writing calls."""
    whole = search_in_child(folder / "whole", SMALL)
    faults, counts = list[str](), Counter[str]()
    torn = make_torn_run(folder / "torn")

    def copy_torn_run(path: Path) -> None:
        shutil.copytree(torn, path)

    for start, begin in {"new": create_nothing, "torn": copy_torn_run}.items():
        for name in WRITING_CALLS:
            for path, attempt, call in hit_every_call(folder, search_small, (name, KILL), begin):
                counts[f"{start} {name}"] += 1
                faults += [f"{start}, {call}: {fault}" for fault in find_broken_files(path)]
                if attempt.code != KILLED:
                    faults.append(f"{start}, {call}: exit code {attempt.code}, {attempt.output}")
                faults += find_resume_faults(path, whole, f"{start}, {call}")
    return {"counts": counts, "faults": faults}


def kill_saves_at_every_call(folder: Path) -> dict[str, Any]:
    """Kill a process that saves checkpoints at each of its calls."""
    counts, faults = Counter[str](), list[str]()
    for name in (*WRITING_CALLS, "open"):
        for path, attempt, call in hit_every_call(folder, saves.save_checkpoints, (name, KILL)):
            counts[name] += 1
            saved = attempt.output.count("done: saved")
            faults += [f"{call}: {fault}" for fault in saves.find_checkpoint_faults(path, saved)]
    return {"counts": counts, "faults": faults}
