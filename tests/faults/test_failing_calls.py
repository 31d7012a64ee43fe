"""System calls that fail: the disk is full, or gone, or there are too many files."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.fault_injection import inject_faults, needs_strace

traced = pytest.mark.skipif(
    bool(explain_missing_strace()), reason=f"needs strace: {explain_missing_strace()}"
)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return inject_faults("every call fails", tmp_path_factory.mktemp("failed"))


@needs_strace
def test_c1_whichever_call_fails_the_run_ends_clearly_and_goes_on(failed: dict[str, Any]) -> None:
    """One line and an exit code of ours; every file is whole; resumed, it comes to the same."""
    assert failed["faults"] == []
    for call, errors in {
        "write": "ENOSPC EIO EDQUOT",
        "fsync": "ENOSPC EIO",
        "rename": "EIO",
    }.items():
        assert all(failed["counts"][f"{call} {error}"] > 10 for error in errors.split())


@needs_strace
def test_c1_the_line_says_what_is_wrong_and_what_to_do(failed: dict[str, Any]) -> None:
    for line in failed["told"]:
        assert "RUN" in line, "which directory"
    words = " ".join(failed["told"])
    for reason in ("No space left on device", "Input/output error", "Disk quota exceeded"):
        assert reason in words


def test_c1_a_search_on_a_disk_that_fills_up_goes_on_when_there_is_room(tmp_path: Path) -> None:
    found = inject_faults("small disks", tmp_path)
    if not found["mounted"]:
        pytest.skip("a small disk in memory cannot be mounted here")
    assert found["faults"] == []
    assert (
        sum("No space left on device" in line or "disk full" in line for line in found["told"]) > 5
    )
    assert found["told"][-1] == ""
