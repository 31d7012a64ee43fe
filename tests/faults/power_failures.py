"""The power fails at every moment of a search: acknowledged data survive and the run continues."""

import os
import random
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from tests.faults.disk_states import TRACED, Disk, State, create_files, parse_calls
from tests.faults.forks import Report, run_attempt
from tests.faults.small_search import SMALL, expect_none, find_resume_faults, read_results, search
from veduta.errors import VedutaError
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory
from veduta.runs.events import EpochFinished, Event, TrialFinished, events_of_type
from veduta.runs.journal import Journal, read_journal
from veduta.tuning.previous_trials import reload_trials

FINISHED_EVERY = 60  # one of so many states is resumed to its end
RANDOM = random.Random(11)  # noqa: S311


def search_with_acknowledgements(path: Path, report: Report) -> None:
    """Search, and write into the record of system calls what is acknowledged, at once."""
    append, save, null = Journal.append, Checkpoints.save, os.open(os.devnull, os.O_WRONLY)

    def append_and_acknowledge(self: Journal, event: Event) -> None:
        append(self, event)
        if not isinstance(event, EpochFinished):  # epochs are synced once a second
            os.write(null, f"acknowledged events {len(self.events)}".encode())

    def save_and_acknowledge(
        self: Checkpoints, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        save(self, progress, tensors)
        epochs = len(progress["trial"]["epochs"])
        os.write(null, f"acknowledged {self.name} {epochs}".encode())

    Journal.append = append_and_acknowledge  # type: ignore[method-assign]
    Checkpoints.save = save_and_acknowledge  # type: ignore[method-assign]
    search(path, SMALL, report, warn=expect_none)


def simulate_power_failures(folder: Path) -> dict[str, Any]:
    """Return the number of states that power failures leave, and the faults of those states."""
    path = folder / "disk" / "run"
    path.parent.mkdir()
    process = run_attempt(partial(search_with_acknowledgements, path), strace_options=TRACED)
    assert process.code == 0, process.output
    events, whole = read_journal(path / "journal.jsonl"), read_results(path)
    faults: list[str] = []
    seen: set[bytes] = set()
    for moment, state, acknowledged in list_states(process.log, path.parent):
        key = sha256(repr((sorted(state.items()), acknowledged)).encode()).digest()
        if key in seen:
            continue
        seen.add(key)
        disk = folder / "left"
        create_files(state, disk)
        faults += [
            f"after call {moment}: {fault}"
            for fault in find_losses(disk / "run", events, acknowledged)
        ]
        if len(seen) % FINISHED_EVERY == 0:
            faults += find_resume_faults(disk / "run", whole, f"after call {moment}")
        shutil.rmtree(disk)
    return {"states": len(seen), "faults": faults}


def list_states(log: bytes, root: Path) -> Iterator[tuple[int, State, dict[str, int]]]:
    """Yield states of the disk after a power failure.

    Each comes with the number of the last system call and with what was acknowledged by then.
    """
    disk, acknowledged = Disk(PurePosixPath(root)), dict[str, int]()
    for number, call in enumerate(parse_calls(log)):
        if call.name == "write" and call.texts[0].startswith(b"acknowledged "):
            _, name, count = call.texts[0].decode().split()
            acknowledged[name] = int(count)
        elif not disk.apply(call):
            continue
        for state in disk.generate_states(RANDOM):
            yield number, state, dict(acknowledged)


def find_losses(path: Path, events: list[Event], acknowledged: Mapping[str, int]) -> list[str]:
    """Return what was acknowledged and is lost, and what is there and was never written."""
    directory, faults = RunDirectory(path), list[str]()
    remaining: list[Event] = []
    if directory.journal.is_file():
        try:
            with Journal.reopen(directory.journal) as journal:
                remaining = journal.events
        except VedutaError as error:
            return [f"its journal cannot be read: {error}"]
    if remaining != events[: len(remaining)]:
        faults.append("its journal is no prefix of the written events")
    if len(remaining) < acknowledged.get("events", 0):
        faults.append(f"{len(remaining)} of {acknowledged['events']} acknowledged events are left")
    previous = reload_trials(remaining, SMALL, scores=directory.scores, ages={})
    finished = {event.trial for event in events_of_type(remaining, TrialFinished)}
    faults += [
        f"trial {trial} had finished and is run again" for trial in finished - {*previous.outcomes}
    ]
    for trial in acknowledged.keys() - {"events"} - finished:
        newest = Checkpoints(directory.checkpoints, trial).load_newest()
        epochs = len(newest.progress["trial"]["epochs"]) if newest else -1
        if epochs < acknowledged[trial]:
            faults.append(
                f"checkpoint {acknowledged[trial]} of {trial} was acknowledged; {epochs} is left"
            )
    return faults
