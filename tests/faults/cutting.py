"""The power is cut at every moment of a search: what was acknowledged is there, and goes on."""

import os
import random
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from tests.faults.forks import attempt
from tests.faults.powercut import TRACED, Disk, State, calls, lay_out
from tests.faults.searching import SMALL, Tell, expect_none, finish, result, search
from veduta.errors import VedutaError
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory
from veduta.runs.journal import Event, Journal, read_journal
from veduta.tuning.previous_trials import reload

EACH = 60  # states of which one is run to its end
DRAWN = random.Random(11)  # noqa: S311


def recorded(path: Path, tell: Tell) -> None:
    """Search, and say in the record of calls what is acknowledged, as soon as it is."""
    append, save, null = Journal.append, Checkpoints.save, os.open(os.devnull, os.O_WRONLY)

    def appended(self: Journal, event: str, **fields: object) -> None:
        append(self, event, **fields)
        if event != "epoch":  # these are waited for once a second
            os.write(null, f"acknowledged events {len(self.events)}".encode())

    def saved(self: Checkpoints, progress: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        save(self, progress, tensors)
        done = len(progress["course"]["epochs"])
        os.write(null, f"acknowledged {self.name} {done}".encode())

    Journal.append, Checkpoints.save = appended, saved  # type: ignore[method-assign]
    search(path, SMALL, tell, warn=expect_none)


def power_cuts(folder: Path) -> dict[str, Any]:
    """What is wrong with what power cuts leave; nothing, it is hoped."""
    path = folder / "disk" / "run"
    path.parent.mkdir()
    ended = attempt(partial(recorded, path), traced=TRACED)
    assert ended.code == 0, ended.told
    events, whole = read_journal(path / "journal.jsonl"), result(path)
    faults: list[str] = []
    seen: set[bytes] = set()
    for moment, state, said in moments(ended.log, path.parent):
        key = sha256(repr((sorted(state.items()), said)).encode()).digest()
        if key in seen:
            continue
        seen.add(key)
        left = folder / "left"
        lay_out(state, left)
        faults += [f"after call {moment}: {fault}" for fault in lost(left / "run", events, said)]
        if len(seen) % EACH == 0:
            faults += finish(left / "run", whole, f"after call {moment}")
        shutil.rmtree(left)
    return {"states": len(seen), "faults": faults}


def moments(log: bytes, root: Path) -> Iterator[tuple[int, State, dict[str, int]]]:
    """Number of a call, what may be there when the power goes after it, what was acknowledged."""
    disk, said = Disk(PurePosixPath(root)), dict[str, int]()
    for number, call in enumerate(calls(log)):
        if call.name == "write" and call.texts[0].startswith(b"acknowledged "):
            _, what, count = call.texts[0].decode().split()
            said[what] = int(count)
        elif not disk.take(call):
            continue
        for state in disk.states(DRAWN):
            yield number, state, dict(said)


def lost(path: Path, events: list[Event], said: Mapping[str, int]) -> list[str]:
    """What was acknowledged and is not there, or is there and never was."""
    directory, faults = RunDirectory(path), list[str]()
    found: list[Event] = []
    if directory.journal.is_file():
        try:
            with Journal.reopened(directory.journal) as journal:
                found = journal.events
        except VedutaError as error:
            return [f"its journal cannot be read: {error}"]
    if found != events[: len(found)]:
        faults.append("its journal is no prefix of what was written")
    if len(found) < said.get("events", 0):
        faults.append(f"{len(found)} of {said['events']} events that were acknowledged are left")
    past = reload(found, SMALL, scores=directory.scores, ages={})
    ended = {event["trial"] for event in found if event["event"] == "trial finished"}
    faults += [f"trial {trial} had ended, and is run again" for trial in ended - {*past.outcomes}]
    for trial in said.keys() - {"events"} - ended:
        newest = Checkpoints(directory.checkpoints, trial).newest()
        left = len(newest.progress["course"]["epochs"]) if newest else -1
        if left < said[trial]:
            faults.append(f"checkpoint {said[trial]} of {trial} was acknowledged; {left} is left")
    return faults
