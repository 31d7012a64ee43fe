"""Searches and savings that are killed: at random moments, and at every call that writes."""

import random
import shutil
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import saving
from tests.faults.forks import HANG, KILLED, after, attempt, struck
from tests.faults.searching import (
    SMALL,
    broken,
    done,
    expect_none,
    finish,
    found_trials,
    leftovers,
    result,
    search,
    search_small,
)
from tests.faults.stepping import KILL, KILLING, every_call, not_yet

KILLS = 200  # of the search with random kills
PATIENCE = 0.05  # up to each kill, in the time that a fork takes for the whole search
DRAWN = random.Random(7)  # noqa: S311


def random_kills(folder: Path) -> dict[str, Any]:
    """Searches that are killed at moments drawn beforehand, one after the other."""
    found = found_trials(8, 12)
    whole = done(folder / "whole", found)
    began = time.monotonic()
    ended = attempt(partial(search, folder / "timed", found, threads=True, warn=expect_none))
    patience = PATIENCE * (time.monotonic() - began)
    assert ended.code == 0, ended.told
    needed = sum(trial.settings.epochs for trial in found)
    searches: list[dict[str, Any]] = []
    kills = 0
    while kills < KILLS:
        path = folder / f"killed-{len(searches)}"
        mine, trained = 0, 0
        while True:
            seconds = DRAWN.uniform(0, patience) if kills < KILLS else HANG
            work = partial(search, path, found, threads=True, warn=expect_none)
            ended = attempt(work, dies=after(seconds))
            trained += ended.told.count("done: epoch ")
            if ended.code != KILLED:
                break
            mine, kills = mine + 1, kills + 1
        assert ended.code == 0, ended.told
        lines = (path / "trials.csv").read_text().splitlines()[1:]
        searches.append(
            {
                "kills": mine,
                "lost": trained - needed,
                "same": result(path) == whole,
                "names": [line.split(",")[0] for line in lines],
                "status": [line.split(",")[1] for line in lines],
                "leftovers": leftovers(path),
            }
        )
        shutil.rmtree(path)
    return {"kills": kills, "names": [trial.id for trial in found], "searches": searches}


def torn(folder: Path) -> Path:
    """A run that was killed in its second trial, with a torn line: its recovery is killed too."""
    ended = attempt(
        partial(search, folder, SMALL, warn=expect_none), traced=struck("write", KILL % 20)
    )
    assert ended.code == KILLED
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"event":"epo')
    return folder


def every_kill(folder: Path) -> dict[str, Any]:
    """Kill a search at each of its calls: a new one, and one that goes on after a kill."""
    whole, faults, counts = done(folder / "whole", SMALL), list[str](), Counter[str]()
    starts = {"new": not_yet, "torn": partial(shutil.copytree, torn(folder / "torn"))}
    for start, begin in starts.items():
        for name in KILLING:
            for path, ended, where in every_call(folder, search_small, (name, KILL), begin):
                counts[f"{start} {name}"] += 1
                faults += [f"{start}, {where}: {fault}" for fault in broken(path)]
                if ended.code != KILLED:
                    faults.append(f"{start}, {where}: ended with {ended.code}, {ended.told}")
                faults += finish(path, whole, f"{start}, {where}")
    return {"counts": counts, "faults": faults}


def every_save(folder: Path) -> dict[str, Any]:
    """Kill a training in each call of its checkpoints' saves."""
    counts, faults = Counter[str](), list[str]()
    for name in (*KILLING, "open"):
        for path, ended, where in every_call(folder, saving.save, (name, KILL)):
            counts[name] += 1
            saved = ended.told.count("done: saved")
            faults += [f"{where}: {one}" for one in saving.wrong(path, saved)]
    return {"counts": counts, "faults": faults}
