"""`python -m tests.faults.drive WHAT FOLDER`: attempts that end badly; what came of them, as JSON.

A program of its own, for it must be one thread to fork, and loads everything once.
"""

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from tests.faults import saving
from tests.faults.cutting import power_cuts
from tests.faults.forks import (
    HANG,
    KILLED,
    Ended,
    after,
    attempt,
    expect_one_thread,
    scratch,
    struck,
)
from tests.faults.searching import (
    SMALL,
    Tell,
    broken,
    expect_none,
    finish,
    found_trials,
    leftovers,
    prepare,
    result,
    search,
)
from veduta.search.space import Trial

KILLS, PATIENCE = 200, 0.16  # of the search with random kills, seconds up to each
DRAWN = random.Random(7)  # noqa: S311
KILL = "signal=KILL:when=%d"
KILLING = ("write", "fsync", "rename", "truncate", "unlink", "mkdir")
ERRORS = (  # a disk that is full stays full
    *(("write", "ENOSPC", "+"), ("write", "EIO", ""), ("write", "EDQUOT", "+")),
    *(("fsync", "ENOSPC", "+"), ("fsync", "EIO", ""), ("rename", "ENOSPC", "+")),
    *(("rename", "EIO", ""), ("mkdir", "ENOSPC", "+"), ("truncate", "EIO", "")),
    ("open", "EMFILE", ""),
)


def done(path: Path, found: Sequence[Trial]) -> dict[str, str]:
    """What a search comes to that nothing ends."""
    ended = attempt(partial(search, path, found, warn=expect_none))
    assert ended.code == 0, ended.told
    return result(path)


def random_kills(folder: Path) -> dict[str, Any]:
    """Searches that are killed at moments drawn beforehand, one after the other."""
    found = found_trials(8, 12)
    whole = done(folder / "whole", found)
    needed = sum(trial.settings.epochs for trial in found)
    searches: list[dict[str, Any]] = []
    kills = 0
    while kills < KILLS:
        path = folder / f"killed-{len(searches)}"
        mine, trained = 0, 0
        while True:
            seconds = DRAWN.uniform(0, PATIENCE) if kills < KILLS else HANG
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


def nothing(_: Path) -> None:
    """A directory that is not there yet."""


def every_call(
    folder: Path, begin: Callable[[Path], object], fault: str, name: str
) -> Iterator[Any]:
    """Attempts from where `begin` stands, struck at the first call, the second, up to the last.

    Yields:
        The directory, how the attempt ended, and at which call it was struck.
    """
    number = 0
    while True:
        number += 1
        path = folder / f"{name}-{number}"
        begin(path)
        work = partial(search, path, SMALL, warn=lambda _: None)
        ended = attempt(work, traced=struck(name, fault % number))
        if not ended.struck:
            shutil.rmtree(path)
            return
        yield path, ended, number
        shutil.rmtree(path)


def every_kill(folder: Path) -> dict[str, Any]:
    whole, faults, counts = done(folder / "whole", SMALL), [], {}
    ended_early = torn(folder / "torn")
    starts = {"new": nothing, "torn": partial(shutil.copytree, ended_early)}
    for start, begin in starts.items():
        for name in KILLING:
            for path, ended, number in every_call(folder, begin, KILL, name):
                counts[f"{start} {name}"] = number
                where = f"{start}, {name} {number}"
                faults += [f"{where}: {fault}" for fault in broken(path)]
                if ended.code != KILLED:
                    faults.append(f"{where}: ended with {ended.code}, {ended.told}")
                faults += finish(path, whole, where)
    return {"counts": counts, "faults": faults}


def every_error(folder: Path) -> dict[str, Any]:
    whole, faults, counts = done(folder / "whole", SMALL), [], {}
    told: set[str] = set()
    for name, error, more in ERRORS:
        fault = f"error={error}:when=%d{more}"
        for path, ended, number in every_call(folder, nothing, fault, name):
            counts[f"{name} {error}"] = number
            where = f"{name} {number} {error}"
            faults += [f"{where}: {fault}" for fault in broken(path)]
            faults += unclear(ended, where)
            told.add(message(ended).replace(str(path), "RUN"))
            faults += finish(path, whole, where)
    return {"counts": counts, "faults": faults, "told": sorted(told - {""})}


def message(ended: Ended) -> str:
    return "\n".join(line for line in ended.told.splitlines() if not line.startswith("done: "))


def unclear(ended: Ended, where: str) -> list[str]:
    """What is wrong with how it ended: well, or with one line and an exit code of ours."""
    text = message(ended)
    if ended.code == 0 or (ended.code in {1, 2} and text.count("\n") == 0 and text):
        return []
    return [f"{where}: ended with {ended.code}: {text[-300:]}"]


def every_step(
    folder: Path, work: Callable[[Path, Tell], None], names: Sequence[str], fault: str
) -> Iterator[tuple[str, Path, Ended]]:
    """Attempts in new folders, struck at the first call of a name, the second, up to the last."""
    for name in names:
        for number in count(1):
            path = folder / f"{name}-{number}"
            path.mkdir()
            ended = attempt(partial(work, path), traced=struck(name, fault % number))
            if ended.struck:
                yield name, path, ended
            shutil.rmtree(path)
            if not ended.struck:
                break


def every_save(folder: Path) -> dict[str, Any]:
    """Kill a training in each call of its checkpoints' saves."""
    counts, faults = Counter[str](), list[str]()
    for name, path, ended in every_step(folder, saving.save, (*KILLING, "open"), KILL):
        counts[name] += 1
        saved = ended.told.count("done: saved")
        faults += [f"{path.name}: {one}" for one in saving.wrong(path, saved)]
    return {"counts": counts, "faults": faults}


def every_fill(folder: Path) -> dict[str, Any]:
    """Kill whoever fills a cache at each of its calls, and let each call fail."""
    counts, faults, told = Counter[str](), list[str](), set[str]()
    errors = [(name, f"error={error}:when=%d{more}") for name, error, more in ERRORS]
    for name, fault in [*((name, KILL) for name in KILLING), *errors]:
        for _, path, ended in every_step(folder, saving.fill, (name,), fault):
            counts[f"{name} {fault}"] += 1
            faults += [f"{path.name} {fault}: {one}" for one in saving.wrong_rows(path)]
            if ended.code != KILLED:
                faults += unclear(ended, f"{path.name} {fault}")
                told.add(message(ended))
    return {"counts": counts, "faults": faults, "told": sorted(told - {""})}


SUBJECTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "random-kills": random_kills,
    "every-kill": every_kill,
    "every-error": every_error,
    "every-save": every_save,
    "every-fill": every_fill,
    "power-cuts": power_cuts,
}


def main(what: str, folder: Path) -> None:
    torch.set_num_threads(1)
    fast = scratch(folder)
    prepare()
    try:
        search(fast / "warm", SMALL, lambda _: None, warn=expect_none)  # loads what comes late too
        expect_one_thread()
        (folder / "result.json").write_text(json.dumps(SUBJECTS[what](fast)))
    finally:
        if fast != folder:
            shutil.rmtree(fast)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
