"""Searches and trainings that are killed at random moments, and at every system call that writes.

Real trainings are killed in `tests/tuning/test_killed.py`.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.fault_injection import inject_faults, needs_strace


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The searches that were killed at random moments."""
    return inject_faults("random kills", tmp_path_factory.mktemp("killed"))


def test_two_hundred_kills_do_not_change_tables_and_model(
    killed: dict[str, Any],
) -> None:
    """Not even a byte: the clock of these searches stands still."""
    assert killed["kills"] == 200
    assert all(search["same results"] for search in killed["searches"])


def test_the_table_lists_every_trial_once_and_all_are_finished(
    killed: dict[str, Any],
) -> None:
    for search in killed["searches"]:
        assert search["trials"] == killed["trials"]
        assert set(search["status"]) == {"finished"}
        assert search["leftovers"] == []


def test_a_kill_loses_at_most_one_epoch(killed: dict[str, Any]) -> None:
    assert all(0 <= search["lost epochs"] <= search["kills"] for search in killed["searches"])
    assert any(search["lost epochs"] for search in killed["searches"]), (
        "some kills happened within an epoch"
    )


@needs_strace
def test_a_kill_at_any_writing_call_of_a_search_changes_no_result(tmp_path: Path) -> None:
    """The search is new, or resumed after a kill that left a torn line."""
    result = inject_faults("search killed at every call", tmp_path)
    assert result["faults"] == []
    assert result["counts"].keys() >= {f"new {name}" for name in ("write", "fsync", "rename")}
    assert result["counts"].keys() >= {"torn truncate", "torn write", "torn fsync", "torn rename"}
    assert sum(result["counts"].values()) > 150


@needs_strace
def test_a_kill_at_any_call_of_a_save_leaves_the_newest_or_the_previous_checkpoint(
    tmp_path: Path,
) -> None:
    result = inject_faults("saves killed at every call", tmp_path)
    assert result["faults"] == []
    assert sum(result["counts"].values()) > 30
