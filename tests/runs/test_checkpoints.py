"""Checkpoints: two are kept, damaged ones are never used, and a full disk costs none."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.checkpoints import check_epoch, list_names, make_tensors, save_checkpoints
from veduta.errors import InputError, VedutaError
from veduta.runs.checkpoints import (
    SUFFIX,
    Checkpoints,
    read_checkpoint,
    remove_other_checkpoints,
)
from veduta.runs.directory import RunDirectory, remove_temporary_files
from veduta.runtime.disk import explain_write_errors


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", "trial")
    assert checkpoints.load_newest() is None
    assert not checkpoints.exist()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_the_last_two_checkpoints_are_kept(tmp_path: Path, count: int) -> None:
    checkpoints = save_checkpoints(tmp_path / "checkpoints", count)
    assert check_epoch(checkpoints.load_newest()) == count - 1
    assert checkpoints.exist()
    kept = range(max(0, count - 2), count)
    assert set(list_names(checkpoints.folder)) == {f"trial.{number}{SUFFIX}" for number in kept}
    assert check_epoch(Checkpoints(checkpoints.folder, "trial").load_newest()) == count - 1
    checkpoints.keep_newest()
    assert list_names(checkpoints.folder) == [f"trial.{count - 1}{SUFFIX}"]
    assert check_epoch(checkpoints.load_newest()) == count - 1


def test_trainings_do_not_share_checkpoints(tmp_path: Path) -> None:
    save_checkpoints(tmp_path, 2)
    other = Checkpoints(tmp_path, "trial2")
    assert other.load_newest() is None
    other.save({"epoch": 9}, {})
    assert len(list_names(tmp_path)) == 3
    remove_other_checkpoints(tmp_path, "trial")
    assert list_names(tmp_path) == [f"trial.0{SUFFIX}", f"trial.1{SUFFIX}"]
    remove_other_checkpoints(tmp_path / "none", "trial")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    save_checkpoints(folder, 1)
    return (folder / f"trial.0{SUFFIX}").read_bytes()


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_detected_anywhere(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    """Header, progress, checksum, safetensors header and numbers alike."""
    data = bytearray(whole)
    data[place % len(data)] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(data)
    assert read_checkpoint(path) is None


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no line": lambda data: data[:50],
    "a line alone": lambda data: data[: data.index(b"\n") + 1],
    "cut": lambda data: data[:-1],
    "incomplete": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"\0",
    "zeros behind the line": lambda data: data[:200] + bytes(len(data) - 200),
    "header": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "progress": lambda data: data.replace(b'"epoch": 2', b'"epoch": 1', 1),
    "last number": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "no JSON object": lambda _: b"[1]\nabc",
    "other JSON": lambda _: b'{"progress": {}, "bytes": "3", "sha256": 1}\nabc',
    "deep JSON": lambda _: b"[" * 100_000 + b"\n",
    "an image": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_costs_one_checkpoint_and_a_warning(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    warnings: list[str] = []
    checkpoints = save_checkpoints(tmp_path, 3, warnings.append)
    newest = tmp_path / f"trial.2{SUFFIX}"
    newest.write_bytes(damage(newest.read_bytes()))
    assert check_epoch(checkpoints.load_newest()) == 1
    assert [str(newest) in line for line in warnings] == [True]

    checkpoints.save({"epoch": 7, "loss": 7 / 3}, make_tensors(7))  # replaces the damaged one
    assert list_names(tmp_path) == [f"trial.1{SUFFIX}", f"trial.3{SUFFIX}"]
    (tmp_path / f"trial.3{SUFFIX}").write_bytes(b"")
    assert check_epoch(checkpoints.load_newest()) == 1, "two of them were intact"
    assert len(warnings) == 2

    (tmp_path / f"trial.1{SUFFIX}").unlink()
    with pytest.raises(InputError, match=f"trial.3{SUFFIX}"):
        checkpoints.load_newest()
    (tmp_path / f"trial.3{SUFFIX}").unlink()
    assert checkpoints.load_newest() is None


def test_an_unreadable_checkpoint_is_reported(tmp_path: Path) -> None:
    warnings: list[str] = []
    checkpoints = save_checkpoints(tmp_path, 2, warnings.append)
    (tmp_path / f"trial.1{SUFFIX}").unlink()
    (tmp_path / f"trial.1{SUFFIX}").mkdir()
    assert check_epoch(checkpoints.load_newest()) == 0
    assert len(warnings) == 1


@pytest.mark.parametrize("name", [f"trial.x{SUFFIX}", f"trial.²{SUFFIX}", f"trial.{SUFFIX}"])
def test_other_files_are_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"other")
    assert check_epoch(save_checkpoints(tmp_path, 3).load_newest()) == 2
    assert (tmp_path / name).read_bytes() == b"other"


def fail_as_on_a_full_disk(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a system call that writes files fail as on a full disk."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_full_disk_costs_no_checkpoint_and_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    checkpoints = save_checkpoints(tmp_path, 3)
    before = list_names(tmp_path)
    with monkeypatch.context() as patch:
        fail_as_on_a_full_disk(call, patch)
        with (
            pytest.raises(VedutaError, match="No space left on device"),
            explain_write_errors(tmp_path),
        ):
            checkpoints.save({"epoch": 3}, make_tensors(3))
    assert list_names(tmp_path) == before, "nor is an incomplete file left"
    assert check_epoch(checkpoints.load_newest()) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_read_only_folder_costs_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = save_checkpoints(tmp_path, 2)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            checkpoints.save({"epoch": 2}, make_tensors(2))
        assert check_epoch(checkpoints.load_newest()) == 1
    finally:
        tmp_path.chmod(0o700)


def test_an_incomplete_checkpoint_is_removed(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    checkpoints = save_checkpoints(directory.checkpoints, 2)
    incomplete = directory.checkpoints / f".trial.2{SUFFIX}.ab_c1234"
    incomplete.write_bytes(b"incomplete")
    other = directory.checkpoints / ".hidden"
    other.write_bytes(b"other")
    remove_temporary_files(directory)
    assert not incomplete.exists()
    assert other.exists()
    assert check_epoch(checkpoints.load_newest()) == 1
