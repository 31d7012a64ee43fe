"""`python -m tests.faults.drive WHAT FOLDER`: attempts that end badly; what came of them, as JSON.

A program of its own, for it must be one thread to fork, and loads everything once.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.faults.cutting import power_cuts
from tests.faults.failing import every_error, every_fill, small_disks
from tests.faults.forks import expect_one_thread, scratch
from tests.faults.killing import every_kill, every_save, random_kills
from tests.faults.searching import SMALL, expect_none, prepare, search

SUBJECTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "random-kills": random_kills,
    "every-kill": every_kill,
    "every-error": every_error,
    "every-save": every_save,
    "small-disks": small_disks,
    "every-fill": every_fill,
    "power-cuts": power_cuts,
}


def main(what: str, folder: Path) -> None:
    torch.set_num_threads(1)
    fast = scratch(folder)
    prepare()
    try:
        search(fast / "warm", SMALL, lambda _: None, warn=expect_none)  # loads what comes late too
        expect_one_thread()
        (folder / "result.json").write_text(json.dumps(SUBJECTS[what](fast)))
    finally:
        if fast != folder:
            shutil.rmtree(fast)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
