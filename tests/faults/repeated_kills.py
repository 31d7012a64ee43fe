"""The command `veduta search`, killed fifty times: `python -m tests.faults.repeated_kills FOLDER`.

Most attempts are forks of this process, which has imported everything; some are new processes. Each
is killed when its journal has grown by some lines.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from tests.faults.forks import KILLED, TIMEOUT, Report, run_attempt, wait_for_one_thread
from tests.support.datasets import write_color_folders
from veduta.cli.main import main as run_veduta
from veduta.runtime.disk import compute_digest

KILLS, NEW_PROCESSES = 50, 3
RANDOM = random.Random(3)  # noqa: S311
OPTIONS = (
    *("--model", "cnn", "--channels", "8x12", "--image-size", "16", "--batch-size", "8"),
    *("--epochs", "6", "--augment", "flip", "--ema", "0.5", "--checkpoint-seconds", "0"),
    *("--grid", "lr=1e-3,3e-3,1e-2", "--grid", "label_smoothing=0,0.1"),
)


def run_command(words: Sequence[str], output: Path, _: Report) -> None:
    """Run the command line, which prints to the file `output`; fail unless it succeeds."""
    sys.argv, code = ["veduta", *words], None
    with output.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            run_veduta()
        except SystemExit as end:
            code = end.code
    assert not code, f"exit code {code}: {output.read_text()[-2000:]}"


def count_lines(journal: Path) -> int:
    """Return the number of complete lines of a journal."""
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def has_grown(journal: Path, count: int) -> Callable[[], bool]:
    """Return a function that returns whether a journal has this number of lines more than now."""
    before = count_lines(journal)
    return lambda: count_lines(journal) >= before + count


def run_in_new_process(words: Sequence[str], must_die: Callable[[], bool]) -> int:
    """Run the command in a new process that is killed; return its exit code."""
    command = [sys.executable, "-m", "veduta.cli.main", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + TIMEOUT
        while child.poll() is None:
            if must_die() or time.monotonic() > deadline:
                os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.001)
    return child.returncode


def kill_repeatedly(data: Path, run: Path, output: Path) -> list[int]:
    """Kill a search repeatedly, then finish it; return the lines of its journal at each kill."""
    line_counts, journal = list[int](), run / "journal.jsonl"
    for number in range(KILLS):
        words = ["search", "--resume", str(run)]
        if not line_counts:
            words = ["search", str(data), *OPTIONS, "--out", str(run)]
        must_die = has_grown(journal, RANDOM.randint(1, 14))
        if number % (KILLS // NEW_PROCESSES) == 1:
            code = run_in_new_process(words, must_die)
        else:
            code = run_attempt(partial(run_command, words, output), must_die=must_die).code
        assert code == KILLED, f"kill {number}: exit code {code}: {output.read_text()[-2000:]}"
        line_counts.append(count_lines(journal))
    attempt = run_attempt(partial(run_command, ["search", "--resume", str(run)], output))
    assert attempt.code == 0, attempt.output
    return line_counts


def main(folder: Path) -> None:
    """Run a search without kills and one with kills; write their results to `folder`."""
    torch.set_num_threads(1)
    data, output = folder / "data", folder / "output"
    write_color_folders(data, 14)
    words = ["search", str(data), *OPTIONS, "--out", str(folder / "whole")]
    # In this process, so that later forks have all imports. The signal handlers start a thread.
    with patch("veduta.cli.main.install_signal_handlers"):
        run_command(words, output, lambda _: None)
    wait_for_one_thread()
    line_counts = kill_repeatedly(data, folder / "killed", output)
    models = [folder / name / "model" / "model.safetensors" for name in ("whole", "killed")]
    content = {"lines": line_counts, "models": [compute_digest(model) for model in models]}
    (folder / "result.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
