"""Trials at which native code crashes: that ends the process, so it is judged where a run goes on.

What was under way at one crash is run again, one tile at a time; what was under way at two has
failed, so that a search gets past a trial that brings the process down whenever it is run.
"""

import time
from collections import Counter
from collections.abc import Sequence

from veduta.runs.directory import RunDirectory
from veduta.runs.journal import Journal
from veduta.runs.lines import Event
from veduta.runtime.crashes import crash_in
from veduta.search.failures import CRASHED

CRASHES = 2  # of a trial: it has failed
BEGINNINGS = {"start", "resumed", CRASHED}


def note_crash(directory: RunDirectory, journal: Journal) -> None:
    """Journal that the last attempt of a run crashed, if it did, and which trials have failed."""
    if words := crash_in(directory.crash):
        if under_way := _under_way(journal.events):
            journal.append(CRASHED, reason=words, trials=under_way)
        crashes = Counter(t for e in journal.events if e["event"] == CRASHED for t in e["trials"])
        reason = f"the process crashed {CRASHES} times while it was trained: {words}"
        for trial in under_way:
            if crashes[trial] >= CRASHES:
                fields = {"status": "failed", "reason": reason, "cause": CRASHED}
                journal.append("trial finished", trial=trial, **fields, time=time.time())
    directory.crash.unlink(missing_ok=True)


def _under_way(events: Sequence[Event]) -> list[str]:
    """The trials that the last attempt had begun, and neither ended nor left for a later round."""
    begins = [place for place, event in enumerate(events) if event["event"] in BEGINNINGS]
    begun: dict[str, None] = {}
    for event in events[begins[-1] :] if begins else ():
        if event["event"] == "trial started":
            begun[event["trial"]] = None
        elif event["event"] in {"trial finished", "trial paused"}:
            begun.pop(event["trial"], None)
    return list(begun)
