"""The file system: digests, and the mode that the umask leaves."""

import os
from pathlib import Path

import pytest

from veduta.runtime.disk import digest_of, mode_of_files, sync


def test_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of(tmp_path / "f") == known


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0, 0o666)])
def test_mode_is_what_the_umask_leaves(umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        assert mode_of_files() == mode
        assert mode_of_files() == mode  # asking does not change it
    finally:
        os.umask(before)


def test_sync_takes_files_and_folders_and_fails_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    sync(tmp_path / "f")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "absent")
