"""The real command in a process of its own, as its user runs it: every benchmark's way to ours."""

import json
import os
import subprocess
import sys
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any


def search(folder: Path, place: Path, flags: dict[str, object]) -> tuple[dict[str, Any], float]:
    """`veduta search FOLDER` with the cache `place / "cache"`, into `place / "run"`.

    Args:
        folder: of images.
        place: a folder that there is; what it holds already is reused.
        flags: values by setting; a list is a dimension of the grid.

    Returns:
        What `--json` printed, and the seconds from start to end of the process.

    Raises:
        subprocess.CalledProcessError: it failed; what it said was printed.
    """
    command = [sys.executable, "-m", "veduta.cli.main", "search", str(folder.absolute())]
    command += [f"--out={place / 'run'}", "--json"]
    for name, value in flags.items():
        if isinstance(value, list):
            command += ["--grid", f"{name}={','.join(map(str, value))}"]
        elif isinstance(value, bool):
            command.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        else:
            command += [f"--{name.replace('_', '-')}", str(value)]
    environment = {**os.environ, "VEDUTA_CACHE": str(place / "cache")}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    done.check_returncode()
    return json.loads(done.stdout), seconds


def hold(turn: "Synchronized[int]") -> None:
    """Give a worker, and the command that it starts, one processor of their own."""
    free = sorted(os.sched_getaffinity(0))
    with turn.get_lock():
        number = turn.value
        turn.value += 1
    os.sched_setaffinity(0, {free[number % len(free)]})
