"""The sealed test: the only holder of test labels, which counts how often it was opened.

A test set that is looked at until a model does well on it is a validation set. So its labels are
reached by `open` alone; each opening is written into the run's journal, and into a ledger in the
cache folder under the fingerprint of the test set, so that openings by other runs are known too.
"""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veduta.data.pixels import Image
from veduta.runs.files import expect_room
from veduta.runs.journal import Event, Journal

LEDGER = "test-openings.jsonl"


def fingerprint(images: Sequence[Image]) -> str:
    """SHA-256 over content and labels of a test set, whatever its files are called."""
    lines = sorted(f"{image.digest} {image.sample.label}" for image in images)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def record_opening(cache: Path, test: str, by: str, *, token: str = "") -> int:
    """Write one opening of the test set `test` into the ledger; how many others there were.

    An opening that is told again, for whoever told it died then, has the same token: it is one.
    """
    token = token or secrets.token_hex(8)
    with expect_room(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / LEDGER).open("ab+", buffering=0) as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            ledger.seek(0)
            lines = ledger.read()
            known = [line for line in lines.splitlines() if f'"{test}"'.encode() in line]
            others = [line for line in known if f'"{token}"'.encode() not in line]
            if len(others) == len(known):
                torn = b"" if lines.endswith(b"\n") or not lines else b"\n"
                entry = json.dumps({"test": test, "by": by, "token": token})
                ledger.write(torn + entry.encode() + b"\n")
                os.fsync(ledger)
    return len(others)


@dataclass(frozen=True, slots=True)
class SealedTest:
    """Test images whose labels are behind `open`.

    Of `conflicting` ones identical images have another label, in the test or elsewhere.
    """

    images: Sequence[Image]
    journal: Journal
    cache: Path
    conflicting: frozenset[str] = frozenset()

    @property
    def opened(self) -> int:
        """How often this run opened it; a run that was killed or extended may need it again."""
        return len(self._openings())

    @property
    def opened_before(self) -> int:
        """How often it was opened on this machine before, by others than this run."""
        return int(self._openings()[-1]["before"]) if self.opened else 0

    @property
    def fresh(self) -> bool:
        """Whether the last opening was for the trials that there are now.

        Whoever takes more trials after a look at the test score chooses with it in mind: what it
        says of the new winner is another opening, even where the winner is the old one.
        """
        planned, judged = None, None
        for event in self.journal.events:
            if event["event"] == "plan":
                planned = event["trials"]
            elif event["event"] == "test opened":
                judged = planned
        return judged is not None and judged == planned

    def open(self) -> list[str]:
        """The labels, and one more opening on record."""
        test, token = fingerprint(self.images), self._token()
        others = record_opening(self.cache, test, str(self.journal.path.parent), token=token)
        before = max(0, others - self.opened)
        self.journal.append("test opened", fingerprint=test, before=before)
        return [str(image.sample.label) for image in self.images]

    def _token(self) -> str:
        """The name of the opening: a fresh one, or that of one in which the process died.

        It is in the journal before it is in the ledger, and the opening in the journal after
        that; so there is one of each, whatever is killed when.
        """
        told = [e for e in self.journal.events if e["event"] in {"test opening", "test opened"}]
        if told and told[-1]["event"] == "test opening":
            return str(told[-1]["token"])
        token = secrets.token_hex(8)
        self.journal.append("test opening", token=token)
        return token

    def _openings(self) -> list[Event]:
        return [event for event in self.journal.events if event["event"] == "test opened"]
