"""Output directories that cannot be written: an error before training, and never "saved"."""

import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import veduta
from tests.faults.forks import MEMORY_DISK
from tests.support.permissions import without_root_privileges
from tests.support.runs import QUIET, run_small_search
from veduta.cli.main import main
from veduta.errors import InputError, VedutaError
from veduta.experiment import messages
from veduta.results.run import Run
from veduta.runs.journal import Journal
from veduta.tracking.console import Console
from veduta.tuning.executors.fused.executor import run_fused


def search(data: Path, out: Path, **settings: Any) -> Run:
    """Search two learning rates without pretrained weights."""
    grid = {"lr": [3e-3, 1e-2]}
    return run_small_search(data, out, grid, **{"weights": "none", **settings})


@contextmanager
def use_umask(mask: int) -> Iterator[None]:
    """Set the umask of this process for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(scope="module")
def whole(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run. No test may change it."""
    return search(color_folder, tmp_path_factory.mktemp("runs") / "whole")


def make_unusable_path(tmp_path: Path, kind: str) -> Path:
    """Return a path that cannot become a run directory."""
    parent = tmp_path / "parent"
    parent.mkdir()
    if kind == "the directory is a file":
        (parent / "run").touch()
    elif kind == "its parent is a file":
        (parent / "file").touch()
        return parent / "file" / "run"
    elif kind == "its parent may not be entered":
        parent.chmod(0o600)
        return parent / "deep" / "run"
    else:
        parent.chmod(0o500)
    return parent / "run"


@pytest.mark.parametrize(
    "kind",
    [
        "the directory is a file",
        "its parent is a file",
        "its parent may not be entered",
        "its parent is read-only",
    ],
)
def test_an_unusable_path_is_refused_before_any_work(
    tmp_path: Path,
    color_folder: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = make_unusable_path(tmp_path, kind)
    words = ["search", str(color_folder), "--grid", "lr=1,2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["veduta", *words])
    monkeypatch.setattr(
        "veduta.cli.main.install_signal_handlers", lambda: None
    )  # they are pytest's
    with without_root_privileges(), pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 2
    (line,) = output.err.splitlines()
    assert line.startswith("error: --out must")
    assert "choose another" in line
    assert output.out == "", "no image was read"


@pytest.mark.parametrize("name", ["", "journal.jsonl"], ids=["directory", "journal"])
def test_a_read_only_run_cannot_be_resumed(
    whole: Run, tmp_path: Path, name: str, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    out = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    before = tree(out)
    mode = (out / name).stat().st_mode
    (out / name).chmod(mode & ~0o222)
    with (
        without_root_privileges(),
        pytest.raises(VedutaError, match=r"writ.*choose another|give another"),
    ):
        veduta.search(resume=out, grid={"lr": [1e-1]}, console=QUIET)
    (out / name).chmod(mode)
    assert tree(out).keys() == before.keys()
    if not name:
        return
    assert tree(out) == before


@pytest.mark.parametrize("name", ["", "journal.jsonl", "scores"], ids=["all", "journal", "scores"])
def test_a_run_whose_files_are_removed_while_it_trains_fails(
    color_folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, messages = tmp_path / "run", list[str]()

    def run_and_remove(*args: Any, **options: Any) -> Any:
        for epoch in run_fused(*args, **options):
            if epoch.number == 2:
                shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
            yield epoch

    monkeypatch.setattr("veduta.tuning.study.run_fused", run_and_remove)
    console = Console(quiet=True)
    monkeypatch.setattr(console, "say", messages.append)
    with pytest.raises(VedutaError, match=r"No such file or directory: make room|was removed"):
        search(color_folder, out, console=console)
    assert not (out / "summary.json").exists()
    assert not (out / "model").exists()
    assert not [line for line in messages if "report" in line or "saved" in line]
    assert bool(name) == out.exists(), "the directory is not created again"


def test_temporary_files_on_another_disk_and_a_private_umask(
    whole: Run, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is renamed between disks, and all modes follow the umask."""
    if os.access(MEMORY_DISK, os.W_OK) and MEMORY_DISK.stat().st_dev != tmp_path.stat().st_dev:
        monkeypatch.setattr(tempfile, "tempdir", str(MEMORY_DISK))
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "cache"))
    with use_umask(0o077):
        run = search(color_folder, tmp_path / "run")
    for path in [
        tmp_path / "run",
        *(tmp_path / "run").rglob("*"),
        *(tmp_path / "cache").rglob("*"),
    ]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    model = "model/model.safetensors"
    assert (run.directory.path / model).read_bytes() == (whole.directory.path / model).read_bytes()


def test_modes_of_files_follow_the_umask(whole: Run, color_folder: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    for path in whole.directory.path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask, path


def test_no_two_files_of_a_run_differ_only_in_case(whole: Run) -> None:
    """A run can be copied to a file system that does not distinguish case."""
    names = [str(path).casefold() for path in whole.directory.path.rglob("*")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, reason: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"file locks.*choose another folder"):
        Journal(tmp_path / "journal.jsonl")


def test_too_little_disk_space_is_warned_about(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run starts nevertheless."""
    warnings, console = list[str](), Console(quiet=True)
    monkeypatch.setattr(console, "warn", warnings.append)
    usage = shutil.disk_usage(tmp_path)
    estimates = list[int]()
    estimate = messages.estimate_run_bytes

    def record(*args: Any) -> int:
        estimates.append(estimate(*args))
        return estimates[-1]

    monkeypatch.setattr(messages, "estimate_run_bytes", record)
    full = SimpleNamespace(disk_usage=lambda _: usage._replace(free=10**5))
    monkeypatch.setattr(messages, "shutil", full)  # the cache has enough
    run = search(color_folder, tmp_path / "run", console=console, clip=1.0, refit=True)
    (line,) = [line for line in warnings if "disk space" in line]
    assert "100.0 kB free" in line
    assert "give another --out" in line
    written = sum(path.stat().st_size for path in run.directory.path.rglob("*"))
    assert written < estimates[0] < 20 * written


def test_enough_disk_space_gives_no_warning(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings, console = list[str](), Console(quiet=True)
    monkeypatch.setattr(console, "warn", warnings.append)
    search(color_folder, tmp_path / "run", console=console)
    assert warnings == []
