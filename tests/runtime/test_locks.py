"""File locks: exclusive between processes, released when the process that holds one is killed."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from veduta.runtime.locks import acquire_lock, lock_open_file, try_lock

HOLDER = """
import sys, time
from pathlib import Path
from veduta.runtime.locks import acquire_lock
with acquire_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_lock_of_another_process_is_refused_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with held_by_another_process(path) as holder:
        with try_lock(path) as held:
            assert not held
        holder.kill()
        holder.wait()
        with try_lock(path) as held:
            assert held


def test_waiting_for_a_lock_ends_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    acquired = threading.Event()

    def wait() -> None:
        with acquire_lock(path):
            acquired.set()

    with held_by_another_process(path) as holder:
        thread = threading.Thread(target=wait)
        thread.start()
        assert not acquired.wait(0.3)
        holder.kill()
        holder.wait()
        assert acquired.wait(60)
        thread.join()


def test_folder_that_is_removed_while_waiting_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    acquired = threading.Event()

    def wait() -> None:
        with acquire_lock(path):
            assert path.exists()
            acquired.set()

    with held_by_another_process(path) as holder:
        thread = threading.Thread(target=wait)
        thread.start()
        path.unlink()
        path.parent.rmdir()
        holder.kill()
        holder.wait()
        assert acquired.wait(60)
        thread.join()


def test_lock_file_is_neither_truncated_nor_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"content")
    with acquire_lock(path):
        pass
    with try_lock(path) as held:
        assert held
    assert path.read_bytes() == b"content"


def test_open_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o400)
    with path.open("rb") as first, path.open("rb") as second:
        lock_open_file(first)
        with pytest.raises(BlockingIOError):
            lock_open_file(second)
        first.close()
        lock_open_file(second)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), acquire_lock(tmp_path / "file" / "lock"):
        pass
