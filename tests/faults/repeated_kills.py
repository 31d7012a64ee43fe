"""`python -m tests.faults.repeated_kills FOLDER`: the command `veduta search`, killed again and again.

Most attempts are forks of this program, which has loaded everything; some are started anew. Each is
killed when its journal has some more lines than before.
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

from tests.faults.forks import HANG, KILLED, attempt, expect_one_thread
from tests.support.datasets import write_color_folders
from veduta.cli.main import main as veduta
from veduta.runtime.disk import compute_digest

KILLS, ANEW = 50, 3  # of these as many are processes that were started anew
DRAWN = random.Random(3)  # noqa: S311
NETWORKS = (
    *("--model", "cnn", "--channels", "8x12", "--image-size", "16", "--batch-size", "8"),
    *("--epochs", "6", "--augment", "flip", "--ema", "0.5", "--checkpoint-seconds", "0"),
    *("--grid", "lr=1e-3,3e-3,1e-2", "--grid", "label_smoothing=0,0.1"),
)


def command(words: Sequence[str], said: Path, _: Callable[[str], None]) -> None:
    """The command line, as `veduta` is; what it prints goes into the file `said`."""
    sys.argv, code = ["veduta", *words], None
    with said.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            veduta()
        except SystemExit as end:
            code = end.code
    assert not code, f"exit code {code}: {said.read_text()[-2000:]}"


def lines(journal: Path) -> int:
    """Whole lines so far."""
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def grown(journal: Path, count: int) -> Callable[[], bool]:
    """Whether a journal has so many more lines than now."""
    before = lines(journal)
    return lambda: lines(journal) >= before + count


def anew(words: Sequence[str], dies: Callable[[], bool]) -> int:
    """The command as a process of its own; its exit code."""
    code = [sys.executable, "-m", "veduta.cli.main", *words]
    with subprocess.Popen(code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        until = time.monotonic() + HANG
        while child.poll() is None:
            if dies() or time.monotonic() > until:
                os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.001)
    return child.returncode


def killed(data: Path, run: Path, said: Path) -> list[int]:
    """Kill a search again and again, then leave it alone; lines of its journal at each kill."""
    found, journal = list[int](), run / "journal.jsonl"
    for number in range(KILLS):
        begun = ("search", "--resume", str(run)) if found else ("search", str(data), *NETWORKS)
        words = [*begun, *(() if found else ("--out", str(run)))]
        dies = grown(journal, DRAWN.randint(1, 14))
        if number % (KILLS // ANEW) == 1:
            code = anew(words, dies)
        else:
            code = attempt(partial(command, words, said), dies=dies).code
        assert code == KILLED, f"kill {number}: it ended with {code}: {said.read_text()[-2000:]}"
        found.append(lines(journal))
    ended = attempt(partial(command, ["search", "--resume", str(run)], said))
    assert ended.code == 0, ended.told
    return found


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    data, said = folder / "data", folder / "said"
    write_color_folders(data, 14)
    words = ["search", str(data), *NETWORKS, "--out", str(folder / "alone")]
    with patch("veduta.cli.main.install_signal_handlers"):  # its thread would stay
        command(words, said, lambda _: None)  # here: it loads what comes late too
    expect_one_thread()
    kills = killed(data, folder / "killed", said)
    models = [folder / name / "model" / "model.safetensors" for name in ("alone", "killed")]
    content = {"kills": kills, "models": [compute_digest(model) for model in models]}
    (folder / "result.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
