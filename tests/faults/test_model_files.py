"""Rows F1 to F5 and F7: a model file that is not what was written is refused in a line."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.audit_hook import Watch
from tests.faults.model_files import FILES, MODELS, PATHS, bomb, many_hashes
from tests.support.datasets import write_color_folders
from veduta.errors import WeightsError
from veduta.networks.unpickle import convert_to_safetensors
from veduta.runtime.disk import compute_digest

ROOT = Path(__file__).parents[2]
CALLS, BYTES = 10**6, 200 * 2**20  # of functions, of memory
TREES = {"models": MODELS, "files": FILES, "paths": PATHS, "paths of weights": PATHS}
CASES = [(kind, name) for kind, cases in TREES.items() for name in cases]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def told(work: Path) -> dict[str, Any]:
    write_color_folders(work / "data", 4)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.load_model_files", work / "data", work],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=500,
        env=Watch(work / "watch").environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((work / "told.json").read_text())


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_f1_to_f7_each_is_refused_in_one_line_and_few_steps(
    told: dict[str, Any], kind: str, name: str
) -> None:
    one = told[kind][name]
    expected = TREES[kind][name][2 if kind in {"files", "paths of weights"} else 1]
    assert one["code"] == 2, one
    assert one["error"].count("\n") == 1, one["error"]
    assert one["error"].startswith("error: ")
    assert expected in one["error"]
    assert one["calls"] < CALLS
    assert one["bytes"] < BYTES
    assert one["events"] == []


def test_f5_no_payload_ran_in_any_process(told: dict[str, Any], work: Path) -> None:
    assert told["there"] == []
    assert Watch(work / "watch").events == []


def test_f5_the_payload_and_the_watch_are_no_dummies(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "w.pkl").write_bytes(bomb(tmp_path / "model"))
    watch = Watch(tmp_path / "watch")
    program = f"import pickle; pickle.load(open({str(tmp_path / 'w.pkl')!r}, 'rb'))"
    subprocess.run([sys.executable, "-c", program], check=True, env=watch.environment())
    assert (tmp_path / "canary").exists()
    assert {event for event, *_ in watch.events} >= {"pickle.find_class", "os.system"}


def test_f5_a_pickle_that_would_hash_for_ever_is_stopped(tmp_path: Path) -> None:
    many_hashes(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="breaks the limits"):  # of CPU time, in the child
        convert_to_safetensors(
            tmp_path / "w.pt", compute_digest(tmp_path / "w.pt"), tmp_path / "cache"
        )


WAITS = """
import sys
from pathlib import Path
from veduta.networks import unpickle
unpickle._convert_in_child(Path(sys.argv[1]), Path(sys.argv[1] + ".made"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_f5_the_child_that_unpickles_dies_with_its_parent(tmp_path: Path) -> None:
    pipe = tmp_path / "w.pt"
    os.mkfifo(pipe)  # which nobody writes to: the child waits for ever
    parent = subprocess.Popen([sys.executable, "-c", WAITS, pipe])
    until = time.monotonic() + 60
    writer = -1
    while writer < 0 and time.monotonic() < until:
        with contextlib.suppress(OSError):  # no reader yet
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    (child,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.close(writer)
    assert not Path(f"/proc/{child}").exists()


REACHES = """
import os, pickle, socket, subprocess, sys
from veduta.networks.unpickle import refuse_outside_access

sys.addaudithook(refuse_outside_access)
for reach in (
    socket.socket,
    lambda: subprocess.run(["true"]),
    lambda: os.system("true"),
    lambda: pickle.loads(pickle.dumps(print)),
):
    try:
        reach()
    except PermissionError as error:
        print(error)
"""


def test_f5_what_unpickles_cannot_reach_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REACHES], capture_output=True, text=True, check=True
    )
    told = [line.removeprefix("it asks for ") for line in done.stdout.splitlines()]
    assert told == ["socket.__new__", "subprocess.Popen", "os.system", "pickle.find_class"]
