"""The cache of rows: what is there is whole, whoever was killed, whoever else was at work."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from veduta.data import cache as shards
from veduta.data import row_store as module
from veduta.data.row_store import RowStore, clear, listing, trim
from veduta.errors import InputError

SHAPE = (2, 3)


def store(root: Path, **spec: object) -> RowStore:
    return RowStore(root, "numbers", spec or {"a": 1}, shape=SHAPE, dtype="float32")


def row(key: str) -> np.ndarray:
    return np.full(SHAPE, int(key), np.float32)


def fill(to: RowStore, keys: Sequence[str]) -> None:
    with to.fill(keys) as block:
        for index, key in enumerate(block.keys):
            block.rows[index] = row(key)


def expect(to: RowStore, keys: Sequence[str]) -> None:
    assert np.array_equal(to.rows(keys).take(), np.stack([row(key) for key in keys]))


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*-*") if path.is_dir())


def test_rows_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    one = store(tmp_path)
    assert one.missing(["3", "1", "3"]) == ["3", "1"]
    fill(one, ["3", "1", "3", "2"])
    assert one.missing(["1", "4", "2", "5"]) == ["4", "5"]
    fill(one, ["5", "1", "4"])
    for keys in (["1", "2", "3"], ["4", "1", "4", "5", "2"], ["3", "1", "2"]):
        expect(one, keys)
        expect(store(tmp_path), keys)
    with pytest.raises(KeyError):
        one.rows(["6"])


def test_take_agrees_with_numpy(tmp_path: Path) -> None:
    one = store(tmp_path)
    fill(one, [str(i) for i in range(7)])
    fill(one, [str(i) for i in range(7, 12)])
    keys = [str(i) for i in (0, 1, 2, 3, 9, 8, 4, 4, 11)]
    rows = one.rows(keys)
    whole = np.stack([row(key) for key in keys])
    assert (len(rows), rows.shape, rows.dtype) == (9, (9, 2, 3), np.float32)
    for index in (slice(0, 3), slice(4, 6), slice(None, None, 2), slice(5, 2), np.array([8, 0, 0])):
        found = rows.take(index)
        assert np.array_equal(found, whole[index])
        assert found.flags.c_contiguous
        assert found.flags.owndata
    assert np.array_equal(rows.take(whole[:, 0, 0] > 3), whole[whole[:, 0, 0] > 3])
    assert rows.take(np.array([], np.intp)).shape == (0, 2, 3)
    rows.take()[:] = -1  # a copy: the cache is not touched
    assert np.array_equal(rows.take(), whole)
    assert one.rows([]).take().shape == (0, 2, 3)


@pytest.mark.parametrize("count", [1, 5, 79, 80, 200])
@pytest.mark.parametrize("parts", [1, 5])
def test_scattered_rows_come_in_any_number(tmp_path: Path, parts: int, count: int) -> None:
    """Few rows a part are copied one by one, many part by part: 80 are 16 for each of 5 parts."""
    one = store(tmp_path)
    names = [str(number) for number in range(50)]
    for start in range(0, 50, 50 // parts):
        fill(one, names[start : start + 50 // parts])
    chosen = np.random.default_rng(0).integers(0, 50, count)
    found = one.rows(names).take(chosen)
    assert np.array_equal(found, np.stack([row(names[place]) for place in chosen]))
    assert found.flags.c_contiguous
    assert found.flags.owndata
    room = np.empty_like(found)
    assert one.rows(names).take(chosen, out=room) is room
    assert np.array_equal(room, found)


def test_write_equals_assignment(tmp_path: Path) -> None:
    one = store(tmp_path)
    with one.fill(["1", "2", "3"]) as block:
        block.write(2, row("3"))
        block.write(0, row("1")[:, ::-1])
        block.rows[1] = row("2")
        with pytest.raises(ValueError, match="a row must be"):
            block.write(0, np.zeros((3, 2), np.float32))
        with pytest.raises(ValueError, match="a row must be"):
            block.write(0, np.zeros(SHAPE))
    expect(one, ["1", "2", "3"])


def test_another_spec_is_another_store(tmp_path: Path) -> None:
    fill(store(tmp_path, size=1), ["1"])
    assert store(tmp_path, size=2).missing(["1"]) == ["1"]
    assert RowStore(tmp_path, "numbers", {"size": 1}, shape=SHAPE, dtype="float16").missing(["1"])
    assert RowStore(tmp_path, "numbers", {"size": 1}, shape=(6,), dtype="float32").missing(["1"])
    assert not store(tmp_path, size=1).missing(["1"])
    same = store(tmp_path, b=1, a=2).folder
    assert same == store(tmp_path, a=2, b=1).folder
    assert json.loads((same / "spec.json").read_text())["spec"] == {"a": 2, "b": 1}


def test_a_dropped_row_stays_missing(tmp_path: Path) -> None:
    one = store(tmp_path)
    with one.fill(["1", "2", "3"]) as block:
        block.rows[0], block.rows[2] = row("1"), row("3")
        block.drop(1)
    assert one.missing(["1", "2", "3"]) == ["2"]
    expect(one, ["3", "1"])
    with one.fill(["2"]) as block:
        block.drop(0)
    assert len(visible(tmp_path)) == 1


def test_nothing_is_made_when_nothing_is_missing(tmp_path: Path) -> None:
    one = store(tmp_path)
    fill(one, ["1"])
    with one.fill(["1"]) as block:
        assert block.keys == ()
        assert block.rows.shape == (0, *SHAPE)
    assert len(visible(tmp_path)) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    one = store(tmp_path)

    def fail() -> None:
        with one.fill(["1", "2"]) as block:
            block.rows[:] = 1
            raise error

    with pytest.raises(error):
        fail()
    assert one.missing(["1", "2"]) == ["1", "2"]
    assert visible(tmp_path) == []
    fill(one, ["1", "2"])
    expect(one, ["1", "2"])


VICTIM = """
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


def process(root: Path, keys: str, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", VICTIM, str(root), keys, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_c5_kill_in_the_middle_of_filling(tmp_path: Path) -> None:
    with process(tmp_path, "1,2,3,4", 60) as victim:
        assert victim.stdout
        assert victim.stdout.readline() == "1\n"
        victim.send_signal(signal.SIGKILL)
        assert victim.wait() == -signal.SIGKILL
    assert [name[:7] for name in visible(tmp_path)] == ["partial"]
    one = store(tmp_path)
    assert one.missing(["1", "2"]) == ["1", "2"]
    fill(one, ["1", "2"])  # which would wait for ever, had the lock not died with its holder
    expect(one, ["2", "1"])
    assert [name[:5] for name in visible(tmp_path)] == ["shard"]  # the orphan is gone


def test_two_processes_make_each_row_once(tmp_path: Path) -> None:
    with process(tmp_path, "1,2,3", 0.2) as first:
        assert first.stdout
        first.stdout.readline()
        with process(tmp_path, "2,3,4", 0) as second:
            assert second.stdout
            assert second.stdout.read() == "4\ndone\n"
        assert first.stdout.read() == "2\n3\ndone\n"
    expect(store(tmp_path), ["4", "3", "2", "1"])


def test_rows_of_another_process_are_seen(tmp_path: Path) -> None:
    early = store(tmp_path)
    assert early.missing(["1"]) == ["1"]
    fill(store(tmp_path), ["1"])
    assert early.missing(["1"]) == []
    expect(early, ["1"])


DAMAGE = {
    "rows cut": lambda shard: os.truncate(shard / "rows.npy", 140),
    "rows empty": lambda shard: os.truncate(shard / "rows.npy", 0),
    "rows longer": lambda shard: os.truncate(shard / "rows.npy", 4096),
    "rows gone": lambda shard: (shard / "rows.npy").unlink(),
    "rows of another shape": lambda shard: np.save(shard / "rows.npy", np.zeros((2, 3, 2), "f4")),
    "rows of another type": lambda shard: np.save(shard / "rows.npy", np.zeros((2, 2, 3), "f8")),
    "header damaged": lambda shard: (shard / "rows.npy").write_bytes(b"\x93NUMPY\1\0v\0{nonsense"),
    "keys cut": lambda shard: os.truncate(shard / "keys.json", 4),
    "keys gone": lambda shard: (shard / "keys.json").unlink(),
    "a key less": lambda shard: (shard / "keys.json").write_text('["1"]'),
    "keys of another type": lambda shard: (shard / "keys.json").write_text("[1, 2]"),
    "keys no list": lambda shard: (shard / "keys.json").write_text('{"1": 0}'),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_shard_counts_as_absent(tmp_path: Path, kind: str) -> None:
    fill(store(tmp_path), ["1", "2"])
    fill(store(tmp_path), ["3"])
    shard = next(path.parent for path in tmp_path.rglob("keys.json") if "1" in path.read_text())
    DAMAGE[kind](shard)
    one = store(tmp_path)
    assert one.missing(["1", "2", "3"]) == ["1", "2"]
    fill(one, ["1", "2"])
    expect(store(tmp_path), ["3", "2", "1"])


def test_c5_a_full_disk_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=shards.RESERVE + 23))
    with pytest.raises(InputError, match=r"must have room for .* free; free some space, or set"):
        fill(one, ["1"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=shards.RESERVE + 24))
    fill(one, ["1"])


def test_c5_a_disk_that_fills_up_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match="must have room"):
        fill(store(tmp_path), ["1"])
    assert visible(tmp_path) == []


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="must be a folder that can be written"):
        store(tmp_path / "file")


def test_a_cache_that_fails_to_sync_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    one = store(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="Input/output error"):
        fill(one, ["1"])
    assert visible(tmp_path) == []
    assert one.missing(["1"]) == ["1"]


def test_file_modes_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        fill(store(tmp_path / "a"), ["1"])
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "a").rglob("*")} == {0}


def aged(root: Path, age: int, **spec: object) -> RowStore:
    one = store(root, **spec)
    fill(one, ["1", "2"])
    os.utime(one.folder / "spec.json", (time.time() - age,) * 2)
    return one


def test_listing_says_what_there_is(tmp_path: Path) -> None:
    new, old = aged(tmp_path, 10, size=1), aged(tmp_path, 20, size=2)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").touch()
    entries = listing(tmp_path)
    assert [entry.folder for entry in entries] == [old.folder, new.folder]
    assert [(e.kind, e.rows, e.spec["spec"]["size"]) for e in entries] == [
        ("numbers", 2, 2),
        ("numbers", 2, 1),
    ]
    assert all(entry.size >= 2 * 6 * 4 for entry in entries)
    new.rows(["1"])
    old.rows(["1"])
    assert listing(tmp_path)[-1].folder == old.folder
    assert listing(tmp_path / "nowhere") == []


def test_trim_removes_the_least_recently_used(tmp_path: Path) -> None:
    stores = [aged(tmp_path, 50 - 10 * i, size=i) for i in range(4)]
    size = listing(tmp_path)[0].size
    assert trim(tmp_path, 4 * size + 100) == []
    removed = trim(tmp_path, 2 * size + 100, keep={stores[0].folder})
    assert [entry.folder for entry in removed] == [stores[1].folder, stores[2].folder]
    assert [one.folder.exists() for one in stores] == [True, False, False, True]
    expect(stores[1], ["1", "2"])  # what is mapped can still be read
    fill(stores[1], ["3"])
    expect(stores[1], ["1", "2", "3"])
    assert store(tmp_path, size=1).missing(["1", "3"]) == ["1"]


def test_filling_trims_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = aged(tmp_path, 10, size=1)
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    new = store(tmp_path, size=2)
    fill(new, ["1"])
    assert not old.folder.exists()
    assert new.folder.exists()


def test_clear_leaves_what_is_being_written(tmp_path: Path) -> None:
    done, busy = aged(tmp_path, 10, size=1), store(tmp_path, size=2)
    other = tmp_path / "weights" / "model.safetensors"
    other.parent.mkdir()
    other.touch()
    with busy.fill(["1"]) as block:
        block.rows[0] = row("1")
        assert clear(tmp_path) > 0
    assert not done.folder.exists()
    assert other.exists()
    expect(store(tmp_path, size=2), ["1"])
    clear(tmp_path)
    assert listing(tmp_path) == []


def test_a_spec_removed_while_someone_waits(tmp_path: Path) -> None:
    with process(tmp_path, "1,2", 0.6) as first:
        assert first.stdout
        first.stdout.readline()
        with process(tmp_path, "3", 0) as second:
            time.sleep(0.4)
            shutil.rmtree(
                store(tmp_path).folder, ignore_errors=True
            )  # as an old hand with `rm` would
            assert second.wait() == 0
        first.wait()
    expect(store(tmp_path), ["3"])
