"""The file system: digests, file modes, and folders that are replaced entirely or not at all."""

import os
from pathlib import Path

import pytest

from veduta.runtime.disk import compute_digest, get_file_mode, make_folder, replace_folder, sync


def test_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert compute_digest(tmp_path / "f") == known


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0, 0o666)])
def test_file_mode_follows_the_umask(umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        assert get_file_mode() == mode
        assert get_file_mode() == mode  # the call does not change it
    finally:
        os.umask(before)


def test_sync_accepts_files_and_folders_and_fails_without_them(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    sync(tmp_path / "f")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "absent")


def test_a_folder_is_replaced_entirely(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with replace_folder(tmp_path / "model") as building:
            (building / "file").write_text(content)
            assert building.name == "model"
    assert (tmp_path / "model" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("number", [1, 2], ids=["rename of the former", "rename of the new"])
def test_a_folder_that_cannot_be_replaced_is_kept(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replace_folder(tmp_path / "model") as building:
        (building / "file").write_text("old")
    renames, rename = [], os.rename

    def fail(source: Path, target: Path) -> None:
        renames.append(target)
        if len(renames) == number:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="Input/output"), replace_folder(tmp_path / "model"):
        pass
    assert (tmp_path / "model" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failing_block_leaves_the_folder_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replace_folder(tmp_path / "model"):
        raise ZeroDivisionError
    assert [*tmp_path.iterdir()] == []


def test_make_folder_is_idempotent_and_fails_on_a_file(tmp_path: Path) -> None:
    make_folder(tmp_path / "a")
    make_folder(tmp_path / "a")
    assert (tmp_path / "a").is_dir()
    (tmp_path / "b").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "b")
