"""System calls that fail: full disks, input/output errors, too many open files."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.fault_injection import inject_faults, needs_strace


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of letting each call of a search fail."""
    return inject_faults("every call fails", tmp_path_factory.mktemp("failed"))


@needs_strace
def test_a_run_ends_with_one_line_whichever_call_fails_and_can_be_resumed(
    failed: dict[str, Any],
) -> None:
    """The exit code is 1 or 2, no file is incomplete, and the resumed run has the same results."""
    assert failed["faults"] == []
    for call, errors in {
        "write": "ENOSPC EIO EDQUOT",
        "fsync": "ENOSPC EIO",
        "rename": "EIO",
    }.items():
        assert all(failed["counts"][f"{call} {error}"] > 10 for error in errors.split())


@needs_strace
def test_the_message_names_the_reason_and_the_directory(failed: dict[str, Any]) -> None:
    assert all("RUN" in message for message in failed["messages"])
    text = " ".join(failed["messages"])
    for reason in ("No space left on device", "Input/output error", "Disk quota exceeded"):
        assert reason in text


def test_a_search_on_a_full_disk_can_be_resumed_when_there_is_space(tmp_path: Path) -> None:
    result = inject_faults("small disks", tmp_path)
    if not result["mounted"]:
        pytest.skip("a small disk in memory cannot be mounted here")
    assert result["faults"] == []
    messages = [message for message in result["messages"] if message]
    assert len(messages) > 5
    assert all("make room" in message for message in messages)
    assert any("No space left on device" in message for message in messages)
    assert result["messages"][-1] == ""
