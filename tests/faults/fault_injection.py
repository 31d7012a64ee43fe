"""Fault injection in a process of its own, `python -m tests.faults.fault_injection NAME FOLDER`.

It is a separate process because a process must have one thread when it forks. It imports everything
once, so that each attempt is a cheap fork, and writes its result as JSON.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.faults.failing_calls import (
    fail_every_call,
    fill_small_disks,
    interrupt_cache_at_every_call,
)
from tests.faults.forks import (
    create_scratch_folder,
    explain_missing_strace,
    wait_for_one_thread,
)
from tests.faults.kills import (
    kill_saves_at_every_call,
    kill_search_at_every_call,
    run_random_kills,
)
from tests.faults.power_failures import simulate_power_failures
from tests.faults.small_search import SMALL, expect_none, prepare, search

EXPERIMENTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "random kills": run_random_kills,
    "search killed at every call": kill_search_at_every_call,
    "saves killed at every call": kill_saves_at_every_call,
    "every call fails": fail_every_call,
    "small disks": fill_small_disks,
    "cache interrupted at every call": interrupt_cache_at_every_call,
    "power failures": simulate_power_failures,
}

needs_strace = pytest.mark.skipif(
    bool(explain_missing_strace()), reason=f"needs strace: {explain_missing_strace()}"
)


def inject_faults(name: str, folder: Path) -> dict[str, Any]:
    """Run the experiment `name` in a new process and return its result."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.faults.fault_injection", name, str(folder)],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def main(name: str, folder: Path) -> None:
    """Run the experiment `name` and write its result to `folder`."""
    torch.set_num_threads(1)
    fast = create_scratch_folder(folder)
    prepare()
    try:
        search(fast / "warm", SMALL, lambda _: None, warn=expect_none)  # completes late imports
        wait_for_one_thread()
        (folder / "result.json").write_text(json.dumps(EXPERIMENTS[name](fast)))
    finally:
        if fast != folder:
            shutil.rmtree(fast)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
