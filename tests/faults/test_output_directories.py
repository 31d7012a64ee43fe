"""Places where a run cannot be, or not for long: an error before the work, never "saved"."""

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
from tests.faults.forks import FAST
from tests.support.permissions import those_of_a_user
from veduta.cli.main import main
from veduta.errors import InputError, VedutaError
from veduta.experiment import messages
from veduta.results.run import Run
from veduta.runs.journal import Journal
from veduta.tracking.console import Console
from veduta.tuning import study

GRID = {"lr": [3e-3, 1e-2]}
SMALL: dict[str, Any] = {"image_size": 32, "weights": "none", "epochs": 3, "engine": "torch"}
QUIET = Console(quiet=True)


def search(data: Path, out: Path, **more: Any) -> Run:
    return veduta.search(data, grid=GRID, out=out, **{"console": QUIET, **SMALL, **more})


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(scope="module")
def whole(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which nothing went wrong. Not to be changed by a test."""
    return search(color_folder, tmp_path_factory.mktemp("runs") / "whole")


def place(tmp_path: Path, kind: str) -> Path:
    """A place where no run can stand."""
    above = tmp_path / "above"
    above.mkdir()
    if kind == "the directory is a file":
        (above / "run").touch()
    elif kind == "its folder is a file":
        (above / "file").touch()
        return above / "file" / "run"
    elif kind == "its folder may not be entered":
        above.chmod(0o600)
        return above / "deep" / "run"
    else:
        above.chmod(0o500)
    return above / "run"


@pytest.mark.parametrize(
    "kind",
    [
        "the directory is a file",
        "its folder is a file",
        "its folder may not be entered",
        "its folder may not be written",
    ],
)
def test_c2_a_place_that_cannot_be_written_is_refused_before_anything_is_done(
    tmp_path: Path,
    color_folder: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = place(tmp_path, kind)
    words = ["search", str(color_folder), "--grid", "lr=1,2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["veduta", *words])
    monkeypatch.setattr(
        "veduta.cli.main.install_signal_handlers", lambda: None
    )  # signals are pytest's here
    with those_of_a_user(), pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    (line,) = said.err.splitlines()
    assert line.startswith("error: --out must")
    assert "choose another" in line
    assert said.out == "", "no image was read for it"


@pytest.mark.parametrize("name", ["", "journal.jsonl"], ids=["directory", "journal"])
def test_c2_a_run_that_cannot_be_written_does_not_go_on(
    whole: Run, tmp_path: Path, name: str, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    out = Path(shutil.copytree(whole.directory.path, tmp_path / "run"))
    before = tree(out)
    mode = (out / name).stat().st_mode
    (out / name).chmod(mode & ~0o222)
    with those_of_a_user(), pytest.raises(VedutaError, match=r"writ.*choose another|give another"):
        veduta.search(resume=out, grid={"lr": [1e-1]}, console=QUIET)
    (out / name).chmod(mode)
    assert tree(out).keys() == before.keys()
    if not name:
        return
    assert tree(out) == before


@pytest.mark.parametrize("name", ["", "journal.jsonl", "scores"], ids=["all", "journal", "scores"])
def test_c2_a_run_whose_files_are_removed_meanwhile_does_not_end_well(
    color_folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said = tmp_path / "run", list[str]()
    run_fused = study.run_fused

    def removing(*words: Any, **more: Any) -> Any:
        for epoch in run_fused(*words, **more):
            if epoch.number == 2:
                shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
            yield epoch

    monkeypatch.setattr(study, "run_fused", removing)
    console = Console(quiet=True)
    monkeypatch.setattr(console, "say", said.append)
    with pytest.raises(VedutaError, match=r"No such file or directory: make room|was removed"):
        search(color_folder, out, console=console)
    assert not (out / "summary.json").exists()
    assert not (out / "model").exists()
    assert not [line for line in said if "report" in line or "saved" in line]
    assert bool(name) == out.exists(), "it is not made again either"


def test_c3_a_temporary_folder_on_another_disk_and_c4_a_private_umask(
    whole: Run, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is renamed from one disk to another; what is made is as private as the umask says."""
    if os.access(FAST, os.W_OK) and FAST.stat().st_dev != tmp_path.stat().st_dev:
        monkeypatch.setattr(tempfile, "tempdir", str(FAST))
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "cache"))
    with umask(0o077):
        run = search(color_folder, tmp_path / "run")
    for path in [
        tmp_path / "run",
        *(tmp_path / "run").rglob("*"),
        *(tmp_path / "cache").rglob("*"),
    ]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    model = "model/model.safetensors"
    assert (run.directory.path / model).read_bytes() == (whole.directory.path / model).read_bytes()


def test_c4_the_modes_of_a_run_follow_a_common_umask(whole: Run, color_folder: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    for path in whole.directory.path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask, path


def test_c3_no_two_files_of_a_run_differ_in_case_alone(whole: Run) -> None:
    """So a run can be copied to a disk that takes such names for one."""
    names = [str(path).casefold() for path in whole.directory.path.rglob("*")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_c3_a_disk_without_locks_is_refused(
    tmp_path: Path, reason: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"where files can be locked.*choose another place"):
        Journal(tmp_path / "journal.jsonl")


def test_too_little_disk_space_is_warned_about(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault C6: the run starts all the same."""
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
    (line,) = [line for line in warnings if "room" in line]
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
