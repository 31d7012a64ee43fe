"""Checkpoints: two generations, whole or not used; what is told where none can be written."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from veduta.errors import InputError, VedutaError
from veduta.runs.checkpoints import SUFFIX, Checkpoint, Checkpoints, keep_only, read_checkpoint
from veduta.runs.directory import RunDirectory, tidy
from veduta.runs.files import expect_room


def tensors(number: int) -> dict[str, Tensor]:
    maps = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    return {"network.weight": maps + number, "optimizer.0.step": torch.tensor(float(number))}


def saved(folder: Path, count: int, warn: Callable[[str], None] = lambda _: None) -> Checkpoints:
    found = Checkpoints(folder, "trial", warn)
    for number in range(count):
        found.save({"epoch": number, "loss": number / 3}, tensors(number))
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def number_of(found: Checkpoint | None) -> int | None:
    """Which of `saved` it is, all of it."""
    if found is None:
        return None
    number: int = found.progress["epoch"]
    assert found.progress == {"epoch": number, "loss": number / 3}
    assert found.tensors.keys() == tensors(number).keys()
    assert all(torch.equal(found.tensors[name], t) for name, t in tensors(number).items())
    return number


def test_none_is_found_where_there_is_none(tmp_path: Path) -> None:
    found = Checkpoints(tmp_path / "checkpoints", "trial")
    assert found.newest() is None
    assert not found.exist()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_the_last_two_generations_are_kept(tmp_path: Path, count: int) -> None:
    found = saved(tmp_path / "checkpoints", count)
    assert number_of(found.newest()) == count - 1
    assert found.exist()
    kept = range(max(0, count - 2), count)
    assert set(names(found.folder)) == {f"trial.{number}{SUFFIX}" for number in kept}
    assert number_of(Checkpoints(found.folder, "trial").newest()) == count - 1
    found.keep_last()
    assert names(found.folder) == [f"trial.{count - 1}{SUFFIX}"]
    assert number_of(found.newest()) == count - 1


def test_trainings_do_not_see_each_other(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    other = Checkpoints(tmp_path, "trial2")
    assert other.newest() is None
    other.save({"epoch": 9}, {})
    assert len(names(tmp_path)) == 3
    keep_only(tmp_path, "trial")
    assert names(tmp_path) == [f"trial.0{SUFFIX}", f"trial.1{SUFFIX}"]
    keep_only(tmp_path / "none", "trial")


def lines(path: Path) -> tuple[int, int]:
    """Bytes of the first line, and of all."""
    data = path.read_bytes()
    return data.index(b"\n") + 1, len(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    saved(folder, 1)
    return (folder / f"trial.0{SUFFIX}").read_bytes()


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_bit_that_flips_anywhere_is_seen(
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
    "half": lambda data: data[: len(data) // 2],
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
def test_b3_a_damaged_one_costs_one_generation_and_is_told(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    told: list[str] = []
    found = saved(tmp_path, 3, told.append)
    newest = tmp_path / f"trial.2{SUFFIX}"
    newest.write_bytes(damage(newest.read_bytes()))
    assert number_of(found.newest()) == 1
    assert [str(newest) in line for line in told] == [True]

    found.save({"epoch": 7, "loss": 7 / 3}, tensors(7))  # it takes the place of the damaged one
    assert names(tmp_path) == [f"trial.1{SUFFIX}", f"trial.3{SUFFIX}"]
    (tmp_path / f"trial.3{SUFFIX}").write_bytes(b"")
    assert number_of(found.newest()) == 1, "there were two whole ones"
    assert len(told) == 2

    (tmp_path / f"trial.1{SUFFIX}").unlink()
    with pytest.raises(InputError, match=f"restore trial.3{SUFFIX}, or remove them"):
        found.newest()
    (tmp_path / f"trial.3{SUFFIX}").unlink()
    assert found.newest() is None


def test_one_that_cannot_be_opened_is_told_too(tmp_path: Path) -> None:
    told: list[str] = []
    found = saved(tmp_path, 2, told.append)
    (tmp_path / f"trial.1{SUFFIX}").unlink()
    (tmp_path / f"trial.1{SUFFIX}").mkdir()
    assert number_of(found.newest()) == 0
    assert len(told) == 1


@pytest.mark.parametrize("name", [f"trial.x{SUFFIX}", f"trial.²{SUFFIX}", f"trial.{SUFFIX}"])
def test_files_that_are_none_of_ours_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"a user's")
    assert number_of(saved(tmp_path, 3).newest()) == 2
    assert (tmp_path / name).read_bytes() == b"a user's"


def refuse(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a system call that writes files fail as on a full disk."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_full_disk_leaves_the_last_ones_and_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    found = saved(tmp_path, 3)
    before = names(tmp_path)
    with monkeypatch.context() as patch:
        refuse(call, patch)
        with pytest.raises(VedutaError, match="No space left on device"), expect_room(tmp_path):
            found.save({"epoch": 3}, tensors(3))
    assert names(tmp_path) == before, "no half of a file is left either"
    assert number_of(found.newest()) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_leaves_the_last_ones(tmp_path: Path) -> None:
    found = saved(tmp_path, 2)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            found.save({"epoch": 2}, tensors(2))
        assert number_of(found.newest()) == 1
    finally:
        tmp_path.chmod(0o700)


def test_what_a_kill_left_half_written_goes_when_the_run_goes_on(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    found = saved(directory.checkpoints, 2)
    half = directory.checkpoints / f".trial.2{SUFFIX}.ab_c1234"
    half.write_bytes(b"half")
    mine = directory.checkpoints / ".hidden"
    mine.write_bytes(b"a user's")
    tidy(directory)
    assert not half.exists()
    assert mine.exists()
    assert number_of(found.newest()) == 1
