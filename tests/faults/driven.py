"""What `tests.faults.drive` found, for a test to read."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def drive(what: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.drive", what, str(folder)],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found
