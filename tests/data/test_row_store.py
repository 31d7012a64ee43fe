"""The cache of rows: rows are complete or absent, after kills and with concurrent processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from veduta.data import cache as cache_module
from veduta.data import row_store as row_store_module
from veduta.data.cache import list_entries, remove_entries, trim_cache
from veduta.data.row_store import RowStore
from veduta.errors import InputError

SHAPE = (2, 3)


def open_store(root: Path, **spec: object) -> RowStore:
    return RowStore(root, "numbers", spec or {"a": 1}, shape=SHAPE, dtype="float32")


def build_row(key: str) -> np.ndarray:
    return np.full(SHAPE, int(key), np.float32)


def fill(store: RowStore, keys: Sequence[str]) -> None:
    with store.fill(keys) as block:
        for index, key in enumerate(block.keys):
            block.rows[index] = build_row(key)


def check_rows(store: RowStore, keys: Sequence[str]) -> None:
    assert np.array_equal(store.load_rows(keys).take(), np.stack([build_row(key) for key in keys]))


def list_shards(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*-*") if path.is_dir())


def test_rows_are_returned_in_the_requested_order(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.find_missing(["3", "1", "3"]) == ["3", "1"]
    fill(store, ["3", "1", "3", "2"])
    assert store.find_missing(["1", "4", "2", "5"]) == ["4", "5"]
    fill(store, ["5", "1", "4"])
    for keys in (["1", "2", "3"], ["4", "1", "4", "5", "2"], ["3", "1", "2"]):
        check_rows(store, keys)
        check_rows(open_store(tmp_path), keys)
    with pytest.raises(KeyError):
        store.load_rows(["6"])


def test_take_agrees_with_numpy(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, [str(i) for i in range(7)])
    fill(store, [str(i) for i in range(7, 12)])
    keys = [str(i) for i in (0, 1, 2, 3, 9, 8, 4, 4, 11)]
    rows = store.load_rows(keys)
    whole = np.stack([build_row(key) for key in keys])
    assert (len(rows), rows.shape) == (9, (9, 2, 3))
    assert rows.dtype == np.float32
    for index in (slice(0, 3), slice(4, 6), slice(None, None, 2), slice(5, 2), np.array([8, 0, 0])):
        taken = rows.take(index)
        assert np.array_equal(taken, whole[index])
        assert taken.flags.c_contiguous
        assert taken.flags.owndata
    assert np.array_equal(rows.take(whole[:, 0, 0] > 3), whole[whole[:, 0, 0] > 3])
    assert rows.take(np.array([], np.intp)).shape == (0, 2, 3)
    rows.take()[:] = -1  # a copy: the cache does not change
    assert np.array_equal(rows.take(), whole)
    assert store.load_rows([]).take().shape == (0, 2, 3)


@pytest.mark.parametrize("count", [1, 5, 79, 80, 200])
@pytest.mark.parametrize("parts", [1, 5])
def test_any_number_of_scattered_rows_is_taken(tmp_path: Path, parts: int, count: int) -> None:
    """Few rows per shard are copied one by store, many shard by shard: 80 are 16 for each of 5."""
    store = open_store(tmp_path)
    names = [str(number) for number in range(50)]
    for start in range(0, 50, 50 // parts):
        fill(store, names[start : start + 50 // parts])
    chosen = np.random.default_rng(0).integers(0, 50, count)
    found = store.load_rows(names).take(chosen)
    assert np.array_equal(found, np.stack([build_row(names[place]) for place in chosen]))
    assert found.flags.c_contiguous
    assert found.flags.owndata
    room = np.empty_like(found)
    assert store.load_rows(names).take(chosen, out=room) is room
    assert np.array_equal(room, found)


def test_write_equals_assignment(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.fill(["1", "2", "3"]) as block:
        block.write(2, build_row("3"))
        block.write(0, build_row("1")[:, ::-1])
        block.rows[1] = build_row("2")
        with pytest.raises(ValueError, match="a row must be"):
            block.write(0, np.zeros((3, 2), np.float32))
        with pytest.raises(ValueError, match="a row must be"):
            block.write(0, np.zeros(SHAPE))
    check_rows(store, ["1", "2", "3"])


def test_another_spec_is_another_store(tmp_path: Path) -> None:
    fill(open_store(tmp_path, size=1), ["1"])
    assert open_store(tmp_path, size=2).find_missing(["1"]) == ["1"]
    assert RowStore(tmp_path, "numbers", {"size": 1}, shape=SHAPE, dtype="float16").find_missing(
        ["1"]
    )
    assert RowStore(tmp_path, "numbers", {"size": 1}, shape=(6,), dtype="float32").find_missing(
        ["1"]
    )
    assert not open_store(tmp_path, size=1).find_missing(["1"])
    same = open_store(tmp_path, b=1, a=2).folder
    assert same == open_store(tmp_path, a=2, b=1).folder
    assert json.loads((same / "spec.json").read_text())["spec"] == {"a": 2, "b": 1}


def test_a_dropped_row_stays_missing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.fill(["1", "2", "3"]) as block:
        block.rows[0], block.rows[2] = build_row("1"), build_row("3")
        block.drop(1)
    assert store.find_missing(["1", "2", "3"]) == ["2"]
    check_rows(store, ["3", "1"])
    with store.fill(["2"]) as block:
        block.drop(0)
    assert len(list_shards(tmp_path)) == 1


def test_no_rows_are_computed_if_none_are_missing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, ["1"])
    with store.fill(["1"]) as block:
        assert block.keys == ()
        assert block.rows.shape == (0, *SHAPE)
    assert len(list_shards(tmp_path)) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_exception_keeps_no_rows(tmp_path: Path, error: type[BaseException]) -> None:
    store = open_store(tmp_path)

    def fail() -> None:
        with store.fill(["1", "2"]) as block:
            block.rows[:] = 1
            raise error

    with pytest.raises(error):
        fail()
    assert store.find_missing(["1", "2"]) == ["1", "2"]
    assert list_shards(tmp_path) == []
    fill(store, ["1", "2"])
    check_rows(store, ["1", "2"])


FILL_SLOWLY = """
import sys, time
from pathlib import Path
from veduta.data.row_store import RowStore
store = RowStore(Path(sys.argv[1]), "numbers", {"a": 1}, shape=(2, 3), dtype="float32")
keys = sys.argv[2].split(",")
with store.fill(keys) as block:
    for index, key in enumerate(block.keys):
        block.rows[index] = int(key)
        print(key, flush=True)
        time.sleep(float(sys.argv[3]))
print("done", flush=True)
"""


def start_process(root: Path, keys: str, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FILL_SLOWLY, str(root), keys, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_process_killed_while_filling_leaves_no_rows(tmp_path: Path) -> None:
    with start_process(tmp_path, "1,2,3,4", 60) as process:
        assert process.stdout
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert [name[:7] for name in list_shards(tmp_path)] == ["partial"]
    store = open_store(tmp_path)
    assert store.find_missing(["1", "2"]) == ["1", "2"]
    fill(store, ["1", "2"])  # a lock that outlived its process would block this forever
    check_rows(store, ["2", "1"])
    (name,) = list_shards(tmp_path)  # the abandoned shard was removed
    assert name.startswith("shard")


def test_two_processes_compute_each_row_once(tmp_path: Path) -> None:
    with start_process(tmp_path, "1,2,3", 0.2) as first:
        assert first.stdout
        first.stdout.readline()
        with start_process(tmp_path, "2,3,4", 0) as second:
            assert second.stdout
            assert second.stdout.read() == "4\ndone\n"
        assert first.stdout.read() == "2\n3\ndone\n"
    check_rows(open_store(tmp_path), ["4", "3", "2", "1"])


def test_rows_of_another_store_are_found(tmp_path: Path) -> None:
    early = open_store(tmp_path)
    assert early.find_missing(["1"]) == ["1"]
    fill(open_store(tmp_path), ["1"])
    assert early.find_missing(["1"]) == []
    check_rows(early, ["1"])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "rows truncated": lambda shard: os.truncate(shard / "rows.npy", 140),
    "rows empty": lambda shard: os.truncate(shard / "rows.npy", 0),
    "rows longer": lambda shard: os.truncate(shard / "rows.npy", 4096),
    "rows missing": lambda shard: (shard / "rows.npy").unlink(),
    "rows of another shape": lambda shard: np.save(shard / "rows.npy", np.zeros((2, 3, 2), "f4")),
    "rows of another type": lambda shard: np.save(shard / "rows.npy", np.zeros((2, 2, 3), "f8")),
    "header damaged": lambda shard: (shard / "rows.npy").write_bytes(b"\x93NUMPY\1\0v\0{nonsense"),
    "keys truncated": lambda shard: os.truncate(shard / "keys.json", 4),
    "keys missing": lambda shard: (shard / "keys.json").unlink(),
    "a missing key": lambda shard: (shard / "keys.json").write_text('["1"]'),
    "keys of another type": lambda shard: (shard / "keys.json").write_text("[1, 2]"),
    "keys not a list": lambda shard: (shard / "keys.json").write_text('{"1": 0}'),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_shard_is_treated_as_missing(tmp_path: Path, kind: str) -> None:
    fill(open_store(tmp_path), ["1", "2"])
    fill(open_store(tmp_path), ["3"])
    shard = next(path.parent for path in tmp_path.rglob("keys.json") if "1" in path.read_text())
    DAMAGE[kind](shard)
    store = open_store(tmp_path)
    assert store.find_missing(["1", "2", "3"]) == ["1", "2"]
    fill(store, ["1", "2"])
    check_rows(open_store(tmp_path), ["3", "2", "1"])


def test_a_full_disk_is_an_error_before_rows_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=cache_module.RESERVED_BYTES + 23)
    )
    with pytest.raises(InputError, match=r"needs .* GB more.* GB free; .*VEDUTA_CACHE"):
        fill(store, ["1"])
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=cache_module.RESERVED_BYTES + 24)
    )
    fill(store, ["1"])


def test_a_disk_that_fills_up_during_allocation_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match="GB more"):
        fill(open_store(tmp_path), ["1"])
    assert list_shards(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="must be a writable folder"):
        open_store(tmp_path / "file")


def test_a_cache_that_cannot_be_synced_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    store = open_store(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="Input/output error"):
        fill(store, ["1"])
    assert list_shards(tmp_path) == []
    assert store.find_missing(["1"]) == ["1"]


def test_file_modes_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        fill(open_store(tmp_path / "a"), ["1"])
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "a").rglob("*")} == {0}


def fill_in_the_past(root: Path, age: int, **spec: object) -> RowStore:
    store = open_store(root, **spec)
    fill(store, ["1", "2"])
    os.utime(store.folder / "spec.json", (time.time() - age,) * 2)
    return store


def test_entries_are_listed_by_last_use(tmp_path: Path) -> None:
    new, old = fill_in_the_past(tmp_path, 10, size=1), fill_in_the_past(tmp_path, 20, size=2)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").touch()
    entries = list_entries(tmp_path)
    assert [entry.folder for entry in entries] == [old.folder, new.folder]
    assert [(e.kind, e.rows, e.spec["spec"]["size"]) for e in entries] == [
        ("numbers", 2, 2),
        ("numbers", 2, 1),
    ]
    assert all(entry.size >= 2 * 6 * 4 for entry in entries)
    new.load_rows(["1"])
    old.load_rows(["1"])
    assert list_entries(tmp_path)[-1].folder == old.folder
    assert list_entries(tmp_path / "nowhere") == []


def test_trim_removes_the_least_recently_used(tmp_path: Path) -> None:
    stores = [fill_in_the_past(tmp_path, 50 - 10 * i, size=i) for i in range(4)]
    size = list_entries(tmp_path)[0].size
    assert trim_cache(tmp_path, 4 * size + 100) == []
    removed = trim_cache(tmp_path, 2 * size + 100, keep={stores[0].folder})
    assert [entry.folder for entry in removed] == [stores[1].folder, stores[2].folder]
    assert [store.folder.exists() for store in stores] == [True, False, False, True]
    check_rows(stores[1], ["1", "2"])  # mapped rows can still be read
    fill(stores[1], ["3"])
    check_rows(stores[1], ["1", "2", "3"])
    assert open_store(tmp_path, size=1).find_missing(["1", "3"]) == ["1"]


def test_filling_trims_other_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = fill_in_the_past(tmp_path, 10, size=1)
    monkeypatch.setattr(row_store_module, "MAX_CACHE_BYTES", 1)
    new = open_store(tmp_path, size=2)
    fill(new, ["1"])
    assert not old.folder.exists()
    assert new.folder.exists()


def test_entries_that_are_being_written_are_not_removed(tmp_path: Path) -> None:
    done, busy = fill_in_the_past(tmp_path, 10, size=1), open_store(tmp_path, size=2)
    other = tmp_path / "weights" / "model.safetensors"
    other.parent.mkdir()
    other.touch()
    with busy.fill(["1"]) as block:
        block.rows[0] = build_row("1")
        assert remove_entries(tmp_path) > 0
    assert not done.folder.exists()
    assert other.exists()
    check_rows(open_store(tmp_path, size=2), ["1"])
    remove_entries(tmp_path)
    assert list_entries(tmp_path) == []


def test_an_entry_removed_while_a_process_waits_is_created_again(tmp_path: Path) -> None:
    with start_process(tmp_path, "1,2", 0.6) as first:
        assert first.stdout
        first.stdout.readline()
        with start_process(tmp_path, "3", 0) as second:
            time.sleep(0.4)
            shutil.rmtree(open_store(tmp_path).folder, ignore_errors=True)  # like a user with `rm`
            assert second.wait() == 0
        first.wait()
    check_rows(open_store(tmp_path), ["3"])
