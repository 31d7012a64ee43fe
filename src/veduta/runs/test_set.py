"""The held-out test set: the only holder of test labels, which records every evaluation.

A test set that is evaluated until a model does well on it is a validation set. Its labels are
therefore returned by `TestSet.reveal_labels` alone. Each call is an evaluation: it is written to
the journal of the run, and to a ledger in the cache folder under the fingerprint of the test set,
so that evaluations by other runs on this machine are counted, too.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, final

from veduta.runs.events import (
    SearchPlanned,
    TestEvaluated,
    TestEvaluationStarted,
    events_of_type,
    last_event,
)
from veduta.runs.journal import Journal
from veduta.runtime.disk import explain_write_errors
from veduta.runtime.locks import acquire_lock

LEDGER = "test-openings.jsonl"  # the name from the first version, whose evaluations still count
LEDGER_LOCK = "test-openings.lock"


def compute_fingerprint(digests: Sequence[str], labels: Sequence[str]) -> str:
    """Return a SHA-256 over content and label of images, whatever their order.

    Args:
        digests: SHA-256 of each image.
        labels: Label of each image.
    """
    lines = sorted(f"{digest} {label}" for digest, label in zip(digests, labels, strict=True))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def record_evaluation(cache: Path, fingerprint: str, by: str, *, token: str = "") -> int:
    """Write one evaluation of a test set to the ledger; return the number of other evaluations.

    Args:
        cache: Folder of the ledger; it is made where it is missing.
        fingerprint: That of the test set.
        by: What evaluates it: a run directory, or a command.
        token: Identifies the evaluation. One that is recorded again, because the process was
            killed, counts once. By default a new one.

    Raises:
        VedutaError: The ledger cannot be written.
    """
    token = token or secrets.token_hex(8)
    with (
        explain_write_errors(cache),
        acquire_lock(cache / LEDGER_LOCK),
        (cache / LEDGER).open("ab+", buffering=0) as ledger,
    ):
        ledger.seek(0)
        content = ledger.read()
        same_test_set = [
            line for line in content.splitlines() if f'"{fingerprint}"'.encode() in line
        ]
        others = [line for line in same_test_set if f'"{token}"'.encode() not in line]
        if len(others) == len(same_test_set):
            separator = b"" if content.endswith(b"\n") or not content else b"\n"
            entry = json.dumps({"test": fingerprint, "by": by, "token": token})
            ledger.write(separator + entry.encode() + b"\n")
            os.fsync(ledger)
    return len(others)


@final
@dataclass(frozen=True, slots=True)
class TestSet:
    """The test images of a run; their labels are behind `reveal_labels`.

    Attributes:
        paths: Names of the images.
        digests: SHA-256 of each image.
        conflicting: Those paths of which an identical image, in the test set or elsewhere, has
            another label.
        journal: Journal of the run.
        cache: Folder of the ledger.
    """

    __test__: ClassVar[bool] = False  # pytest would collect the class

    paths: Sequence[str]
    digests: Sequence[str]
    _labels: Sequence[str] = field(repr=False)
    conflicting: frozenset[str]
    journal: Journal
    cache: Path

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def evaluations(self) -> int:
        """Return how often this run evaluated it; a resumed or extended run may do so again."""
        return len(events_of_type(self.journal.events, TestEvaluated))

    @property
    def previous_evaluations(self) -> int:
        """Return how often other runs on this machine had evaluated it before."""
        evaluated = last_event(self.journal.events, TestEvaluated)
        return evaluated.previous_evaluations if evaluated else 0

    @property
    def is_current(self) -> bool:
        """Return whether the last evaluation was made for the trials that are planned now.

        A search that is extended after its test evaluation may have been extended because of the
        test score. What the test set says of the new winner is therefore another evaluation, even
        where the winner is the same.
        """
        planned, evaluated = None, None
        for event in self.journal.events:
            if isinstance(event, SearchPlanned):
                planned = event.trials
            elif isinstance(event, TestEvaluated):
                evaluated = planned
        return evaluated is not None and evaluated == planned

    def reveal_labels(self) -> list[str]:
        """Record one more evaluation and return the label of each image."""
        fingerprint, token = compute_fingerprint(self.digests, self._labels), self._start()
        recorded = record_evaluation(
            self.cache, fingerprint, str(self.journal.path.parent), token=token
        )
        previous = max(0, recorded - self.evaluations)
        self.journal.append(TestEvaluated(fingerprint=fingerprint, previous_evaluations=previous))
        return list(self._labels)

    def _start(self) -> str:
        """Return the token of this evaluation: a new one, or that of one that was interrupted.

        The token is in the journal before it is in the ledger, and the evaluation is in the
        journal after that: so each evaluation is recorded once, whenever the process is killed.
        """
        recorded = [
            event
            for event in self.journal.events
            if isinstance(event, (TestEvaluationStarted, TestEvaluated))
        ]
        if recorded and isinstance(recorded[-1], TestEvaluationStarted):
            return recorded[-1].token
        token = secrets.token_hex(8)
        self.journal.append(TestEvaluationStarted(token=token))
        return token
