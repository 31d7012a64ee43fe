"""The held-out test set: each evaluation is recorded once, in the journal and in the ledger."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.journals import make_plan
from veduta.runs import test_set as module
from veduta.runs.events import TestEvaluated, TestEvaluationStarted
from veduta.runs.journal import Journal
from veduta.runs.test_set import LEDGER, TestSet, compute_fingerprint, record_evaluation

PATHS, DIGESTS, LABELS = ["a", "b", "c"], ["1" * 64, "2" * 64, "3" * 64], ["red", "red", "blue"]
FINGERPRINT = sha256("\n".join(map(" ".join, zip(DIGESTS, LABELS, strict=True))).encode())


def make_test_set(journal: Journal, cache: Path) -> TestSet:
    return TestSet(PATHS, DIGESTS, LABELS, frozenset("b"), journal, cache)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "run").mkdir()
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        yield journal


def test_the_fingerprint_depends_on_content_and_labels_alone() -> None:
    fingerprint = compute_fingerprint(DIGESTS, LABELS)
    assert fingerprint == FINGERPRINT.hexdigest()
    assert compute_fingerprint(DIGESTS[::-1], LABELS[::-1]) == fingerprint
    assert compute_fingerprint(DIGESTS, LABELS[::-1]) != fingerprint
    assert compute_fingerprint(DIGESTS[:1], ["caf\udce9"])


def test_labels_are_revealed_and_every_evaluation_is_recorded(
    tmp_path: Path, journal: Journal
) -> None:
    test_set = make_test_set(journal, tmp_path)
    assert (len(test_set), test_set.evaluations, test_set.previous_evaluations) == (3, 0, 0)
    assert "red" not in repr(test_set)
    record_evaluation(tmp_path, FINGERPRINT.hexdigest(), "another run")
    for count in (1, 2):
        assert test_set.reveal_labels() == LABELS
        assert (test_set.evaluations, test_set.previous_evaluations) == (count, 1)
    started, evaluated = journal.events[:2]
    assert isinstance(started, TestEvaluationStarted)
    assert evaluated == TestEvaluated(fingerprint=FINGERPRINT.hexdigest(), previous_evaluations=1)
    assert f'"{started.token}"' in (tmp_path / LEDGER).read_text()
    with Journal(tmp_path / "other.jsonl") as other:
        make_test_set(other, tmp_path).reveal_labels()
        assert make_test_set(other, tmp_path).previous_evaluations == 3


@pytest.mark.parametrize("moment", ["before the ledger", "after the ledger"])
def test_an_interrupted_evaluation_counts_once(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupted(*words: object, **named: object) -> int:
        if moment == "after the ledger":
            record_evaluation(*words, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    test_set = make_test_set(journal, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "record_evaluation", interrupted)
        with pytest.raises(KeyboardInterrupt):
            test_set.reveal_labels()
    assert test_set.evaluations == 0
    assert test_set.reveal_labels() == LABELS
    assert (test_set.evaluations, test_set.previous_evaluations) == (1, 0)
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 1


def test_an_evaluation_is_current_until_other_trials_are_planned(
    tmp_path: Path, journal: Journal
) -> None:
    test_set = make_test_set(journal, tmp_path)
    journal.append(make_plan("t1"))
    assert not test_set.is_current
    test_set.reveal_labels()
    assert test_set.is_current
    journal.append(make_plan("t1"))
    assert test_set.is_current
    journal.append(make_plan("t1", "t2"))
    assert not test_set.is_current
