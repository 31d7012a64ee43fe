"""Run the command line in a separate process, as users do."""

import os
import subprocess
import sys
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from veduta.runs.summary import Summary


def run_search(data: Path, folder: Path, flags: dict[str, object]) -> tuple[Summary, float]:
    """Run `veduta search` with the cache `folder / "cache"` and the output `folder / "run"`.

    Args:
        data: folder of images.
        folder: an existing folder; a cache in it is reused.
        flags: values by setting; a list is a dimension of the grid.

    Returns:
        The summary that `--json` printed, and the seconds from start to end of the process.

    Raises:
        subprocess.CalledProcessError: the command failed; its messages were printed.
    """
    command = [sys.executable, "-m", "veduta.cli.main", "search", str(data.absolute())]
    command += [f"--out={folder / 'run'}", "--json"]
    for name, value in flags.items():
        if isinstance(value, list):
            command += ["--grid", f"{name}={','.join(map(str, value))}"]
        elif isinstance(value, bool):
            command.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        else:
            command += [f"--{name.replace('_', '-')}", str(value)]
    environment = {**os.environ, "VEDUTA_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if process.returncode:
        print(process.stderr, file=sys.stderr)
    process.check_returncode()
    return Summary.model_validate_json(process.stdout), seconds


def pin_to_core(counter: "Synchronized[int]") -> None:
    """Pin a worker process, and the commands that it starts, to a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    with counter.get_lock():
        number = counter.value
        counter.value += 1
    os.sched_setaffinity(0, {cores[number % len(cores)]})
