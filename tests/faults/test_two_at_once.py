"""Two processes that mean the same run, or the same place for a new one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import veduta
from tests.conftest import paint
from tests.experiment.test_resume import QUIET, SMALL, resume
from veduta.errors import InputError
from veduta.results.run import Run
from veduta.runs.journal import Journal, read_journal

HOLD = """
import os, sys, time
from pathlib import Path
from veduta.runs.journal import Journal
journal = Journal.reopened(Path(sys.argv[1]))
journal.append("resumed", pid=os.getpid())
print("ready", flush=True)
time.sleep(600)
"""
BOTH = """
import os
from veduta import api
from veduta.reporting import report as writing
from veduta.tracking.console import Console
given = {"image_size": 32, "epochs": 1, "engine": "torch", "weights": "none"}
for _ in range(2):
    if os.fork() == 0:
        code = 1
        try:
            api.search("data", grid={"lr": [1e-3, 1e-2]}, console=Console(quiet=True), **given)
            code = 0
        finally:
            os._exit(code)
ends = [os.wait() for _ in range(2)]
print(*(pid for pid, status in ends if status == 0))
"""
SOURCE = str(Path(veduta.__file__).parents[1])


@pytest.fixture(scope="module")
def whole(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is to be copied."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return veduta.search(colours, grid={"lr": [1e-2]}, out=out, console=QUIET, **SMALL)


@pytest.fixture
def held(whole: Run, tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A run that was killed before, and the process that writes it now."""
    path = tmp_path / "run"
    path.mkdir()
    lines = whole.directory.journal.read_bytes().splitlines(keepends=True)
    (path / "journal.jsonl").write_bytes(b"".join(lines[:3]))
    command = [sys.executable, "-c", HOLD, str(path / "journal.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        yield path, child
        child.kill()


def test_a9_a_second_process_ends_with_2_and_names_the_first(
    held: tuple[Path, subprocess.Popen[str]], tree: Callable[[Path], dict[str, bytes]]
) -> None:
    path, first = held
    before = tree(path)
    done = subprocess.run(
        [sys.executable, "-m", "veduta.cli.main", "search", "--resume", str(path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: a run is written by one process at a time; {path} is")
    assert f"process {first.pid}: wait" in done.stderr, "not that of the process before it"
    assert tree(path) == before
    assert first.poll() is None, "it did not wait for the first"


def test_a9_after_a_kill_the_next_start_does_not_wait(
    held: tuple[Path, subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, first = held
    with pytest.raises(InputError, match=f"process {first.pid}"):
        Journal.reopened(path / "journal.jsonl")
    first.send_signal(signal.SIGKILL)
    first.wait()
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", lambda _: pytest.fail("nothing is waited for"))
        with Journal.reopened(path / "journal.jsonl") as journal:
            pids = [event["pid"] for event in journal.events if "pid" in event]
    assert pids[-1] == first.pid, "the number of a process that is gone does not hold anybody"
    assert resume(path).summary["resumed"] == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks")
def test_a10_two_searches_started_at_once_do_not_share_a_file(tmp_path: Path) -> None:
    paint(tmp_path / "data", 8)
    env = {**os.environ, "VEDUTA_CACHE": str(tmp_path / "cache"), "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, "-c", BOTH], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = [Run(tmp_path / "runs" / f"search-{number}") for number in (1, 2)]
    pids = {read_journal(run.directory.journal)[0]["pid"] for run in runs}
    assert pids == {int(word) for word in done.stdout.split()}
    assert len(list((tmp_path / "runs").iterdir())) == 2
    for run in runs:
        curves = [path.parent.name for path in run.directory.tensorboard.glob("*/*")]
        assert sorted(curves) == sorted(run.trials["trial"]), "a file a trial, its own"
        assert veduta.rebuild(run.directory.path).made == [], "all of it is of this run"


def test_a11_a_new_run_does_not_go_into_an_old_directory(
    whole: Run, colours: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    path = whole.directory.path
    before = tree(path)
    for command, more in ((veduta.search, {"grid": {"lr": [1e-2]}}), (veduta.train, {})):
        with pytest.raises(InputError, match=r"no run is overwritten; .*choose another name"):
            command(colours, out=path, console=QUIET, **more, **SMALL)
    assert tree(path) == before


def test_a8_a_finished_search_has_nothing_to_do(
    whole: Run, monkeypatch: pytest.MonkeyPatch, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing is decoded or trained")

    monkeypatch.setattr("veduta.experiment.run.gate_of", never)
    monkeypatch.setattr("veduta.experiment.run.begun", never)
    before = tree(whole.directory.path)
    resume(whole.directory.path)
    assert tree(whole.directory.path) == before
