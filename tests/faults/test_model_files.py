"""Damaged and malicious model files and files of weights: each is refused with one line."""

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

from tests.faults.audit_hook import AuditLog
from tests.faults.model_files import FILES, MODELS, PATHS, make_pickle_bomb, write_slow_pickle
from tests.support.datasets import write_color_folders
from veduta.errors import WeightsError
from veduta.networks.unpickle import convert_to_safetensors
from veduta.runtime.disk import compute_digest

ROOT = Path(__file__).parents[2]
MAX_CALLS, MAX_BYTES = 10**6, 200 * 2**20
"""Limits of function calls and of memory per command."""

TREES: dict[str, dict[str, Any]] = {
    "models": MODELS,
    "files": FILES,
    "paths": PATHS,
    "paths of weights": PATHS,
}
CASES = [(kind, name) for kind, cases in TREES.items() for name in cases]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all files."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def results(work: Path) -> dict[str, Any]:
    """The results of the commands, by kind and name of the file."""
    write_color_folders(work / "data", 4)
    process = subprocess.run(
        [sys.executable, "-m", "tests.faults.load_model_files", work / "data", work],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=500,
        env=AuditLog(work / "audit").make_environment(),
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    content: dict[str, Any] = json.loads((work / "results.json").read_text())
    return content


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_each_file_is_refused_with_one_line_and_little_work(
    results: dict[str, Any], kind: str, name: str
) -> None:
    result = results[kind][name]
    expected = TREES[kind][name][2 if kind in {"files", "paths of weights"} else 1]
    assert result["code"] == 2, result
    assert result["error"].count("\n") == 1, result["error"]
    assert result["error"].startswith("error: ")
    assert expected in result["error"]
    assert result["calls"] < MAX_CALLS
    assert result["bytes"] < MAX_BYTES
    assert result["events"] == []


def test_no_process_executed_a_payload(results: dict[str, Any], work: Path) -> None:
    assert results["canaries"] == []
    assert AuditLog(work / "audit").events == []


def test_payload_and_audit_hook_work(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "w.pkl").write_bytes(make_pickle_bomb(tmp_path / "model"))
    log = AuditLog(tmp_path / "audit")
    program = f"import pickle; pickle.load(open({str(tmp_path / 'w.pkl')!r}, 'rb'))"
    subprocess.run([sys.executable, "-c", program], check=True, env=log.make_environment())
    assert (tmp_path / "canary").exists()
    assert {event for event, *_ in log.events} >= {"pickle.find_class", "os.system"}


def test_a_pickle_that_computes_too_long_is_stopped(tmp_path: Path) -> None:
    write_slow_pickle(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="exceeds the limits"):  # CPU time of the child process
        convert_to_safetensors(
            tmp_path / "w.pt", compute_digest(tmp_path / "w.pt"), tmp_path / "cache"
        )


CONVERT = """
import sys
from pathlib import Path
from veduta.networks import unpickle
unpickle._convert_in_child(Path(sys.argv[1]), Path(sys.argv[1] + ".converted"))
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux ends a child process with its parent"
)
def test_the_child_process_that_unpickles_ends_with_its_parent(tmp_path: Path) -> None:
    pipe = tmp_path / "w.pt"
    os.mkfifo(pipe)  # nobody writes to it: the child waits
    parent = subprocess.Popen([sys.executable, "-c", CONVERT, pipe])
    deadline = time.monotonic() + 60
    writer = -1
    while writer < 0 and time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # no reader yet
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    (child,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.close(writer)
    assert not Path(f"/proc/{child}").exists()


REACH_OUT = """
import os, pickle, socket, subprocess, sys
from veduta.networks.unpickle import refuse_outside_access

sys.addaudithook(refuse_outside_access)
for attempt in (
    socket.socket,
    lambda: subprocess.run(["true"]),
    lambda: os.system("true"),
    lambda: pickle.loads(pickle.dumps(print)),
):
    try:
        attempt()
    except PermissionError as error:
        print(error)
"""


def test_the_process_that_unpickles_has_no_outside_access() -> None:
    process = subprocess.run(
        [sys.executable, "-c", REACH_OUT], capture_output=True, text=True, check=True
    )
    events = [line.split()[-1] for line in process.stdout.splitlines()]
    assert events == ["socket.__new__", "subprocess.Popen", "os.system", "pickle.find_class"]
