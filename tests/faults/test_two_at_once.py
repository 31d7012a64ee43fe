"""Two processes on the same run, or with the same new directory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import veduta
from tests.support.datasets import write_color_folders
from tests.support.resuming import HEAD_SETTINGS, find_events, resume_search
from tests.support.runs import QUIET
from veduta.errors import InputError
from veduta.results.run import Run
from veduta.runs.events import RunResumed, RunStarted
from veduta.runs.journal import Journal

HOLD = """
import os, sys, time
from pathlib import Path
from typing import Any
from veduta.runs.events import RunResumed
from veduta.runs.journal import Journal
journal = Journal.reopen(Path(sys.argv[1]))
journal.append(RunResumed(pid=os.getpid(), versions={}, backbones={}))
print("ready", flush=True)
time.sleep(600)
"""
BOTH = """
import os
from veduta import api
from veduta.tracking.console import Console
settings = {"image_size": 32, "epochs": 1, "engine": "torch", "weights": "none"}
for _ in range(2):
    if os.fork() == 0:
        code = 1
        try:
            api.search("data", grid={"lr": [1e-3, 1e-2]}, console=Console(quiet=True), **settings)
            code = 0
        finally:
            os._exit(code)
ends = [os.wait() for _ in range(2)]
print(*(pid for pid, status in ends if status == 0))
"""
SOURCE = str(Path(veduta.__file__).parents[1])


@pytest.fixture(scope="module")
def whole(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run. Not to be changed by a test."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return veduta.search(color_folder, grid={"lr": [1e-2]}, out=out, console=QUIET, **HEAD_SETTINGS)


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


def test_a_second_process_ends_with_code_2_and_names_the_first(
    held: tuple[Path, subprocess.Popen[str]], tree: Callable[[Path], dict[str, bytes]]
) -> None:
    path, first = held
    before = tree(path)
    done = subprocess.run(
        [sys.executable, "-m", "veduta.cli.main", "search", "--resume", str(path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert str(path) in done.stderr
    assert f"process {first.pid}" in done.stderr, "not that of the process before it"
    assert tree(path) == before
    assert first.poll() is None, "it did not wait for the first"


def test_a_run_can_be_resumed_at_once_after_a_kill(
    held: tuple[Path, subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, first = held
    with pytest.raises(InputError, match=f"process {first.pid}"):
        Journal.reopen(path / "journal.jsonl")
    first.send_signal(signal.SIGKILL)
    first.wait()
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", lambda _: pytest.fail("it must not wait"))
        with Journal.reopen(path / "journal.jsonl") as journal:
            resumed = journal.events[-1]
    assert isinstance(resumed, RunResumed)
    assert resumed.pid == first.pid, "the id of a process that ended does not lock the run"
    assert resume_search(path).summary.resume_count == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks")
def test_two_searches_started_at_once_do_not_share_a_file(tmp_path: Path) -> None:
    write_color_folders(tmp_path / "data", 8)
    env = {**os.environ, "VEDUTA_CACHE": str(tmp_path / "cache"), "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, "-c", BOTH], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = [Run(tmp_path / "runs" / f"search-{number}") for number in (1, 2)]
    pids = {event.pid for run in runs for event in find_events(run, RunStarted)}
    assert pids == {int(word) for word in done.stdout.split()}
    assert len(list((tmp_path / "runs").iterdir())) == 2
    for run in runs:
        curves = [path.parent.name for path in run.directory.tensorboard.glob("*/*")]
        assert sorted(curves) == sorted(run.trials["trial"]), "one file per trial"
        assert veduta.rebuild(run.directory.path).created == [], "every file is of this run"


def test_a_new_run_does_not_use_an_existing_directory(
    whole: Run, color_folder: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    path = whole.directory.path
    before = tree(path)
    grid: dict[str, Any] = {"grid": {"lr": [1e-2]}}
    for command, more in ((veduta.search, grid), (veduta.train, {})):
        with pytest.raises(InputError, match=r"no run is overwritten; .*choose another name"):
            command(color_folder, out=path, console=QUIET, **more, **HEAD_SETTINGS)
    assert tree(path) == before


def test_a_finished_search_decodes_and_trains_nothing(
    whole: Run, monkeypatch: pytest.MonkeyPatch, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    def fail(*_: object, **__: object) -> None:
        pytest.fail("nothing must be decoded or trained")

    monkeypatch.setattr("veduta.experiment.run.check_data", fail)
    monkeypatch.setattr("veduta.experiment.run.open_run", fail)
    before = tree(whole.directory.path)
    resume_search(whole.directory.path)
    assert tree(whole.directory.path) == before
