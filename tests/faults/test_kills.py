"""Searches and trainings that are killed at random moments, and at every system call that writes.

The real trainer killed twenty times is in `tests/tuning/test_killed.py`.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.fault_injection import inject_faults, needs_strace

traced = pytest.mark.skipif(
    bool(explain_missing_strace()), reason=f"needs strace: {explain_missing_strace()}"
)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return inject_faults("random kills", tmp_path_factory.mktemp("killed"))


def test_a1_two_hundred_kills_leave_tables_and_model_as_if_there_had_been_none(
    killed: dict[str, Any],
) -> None:
    """To the last byte: in these searches the stop-watch stands still."""
    assert killed["kills"] == 200
    assert all(search["same"] for search in killed["searches"])


def test_a1_every_trial_stands_in_the_table_once_and_none_is_left_running(
    killed: dict[str, Any],
) -> None:
    for search in killed["searches"]:
        assert search["names"] == killed["names"]
        assert set(search["status"]) == {"finished"}
        assert search["leftovers"] == []


def test_a1_a_kill_costs_an_epoch_at_most(killed: dict[str, Any]) -> None:
    assert all(0 <= search["lost"] <= search["kills"] for search in killed["searches"])
    assert any(search["lost"] for search in killed["searches"]), "some were killed inside an epoch"


@needs_strace
def test_a2_a_kill_at_every_call_that_writes_changes_nothing(tmp_path: Path) -> None:
    """Of a search from its start, and of one that goes on after a kill with a torn line."""
    found = inject_faults("search killed at every call", tmp_path)
    assert found["faults"] == []
    assert found["counts"].keys() >= {f"new {name}" for name in ("write", "fsync", "rename")}
    assert found["counts"].keys() >= {"torn truncate", "torn write", "torn fsync", "torn rename"}
    assert sum(found["counts"].values()) > 150


@needs_strace
def test_b1_a_kill_at_every_call_of_a_save_leaves_the_last_checkpoint_or_the_one_before(
    tmp_path: Path,
) -> None:
    found = inject_faults("saves killed at every call", tmp_path)
    assert found["faults"] == []
    assert sum(found["counts"].values()) > 30
