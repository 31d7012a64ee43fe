"""Free memory: that of the machine, and the limits of control groups in files of a fake root."""

import mmap
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from veduta.runtime.memory import measure_anonymous_memory, measure_free_memory

AVAILABLE = 8000 * 1024


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=AVAILABLE))


def write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_available_memory_counts_without_control_groups(tmp_path: Path) -> None:
    assert measure_free_memory(tmp_path) == AVAILABLE


def test_limit_of_version_2_counts_minus_usage(tmp_path: Path) -> None:
    """The parent has the lower limit: 1,000,000 - 700,000 + 50,000 reclaimable bytes."""
    top = "sys/fs/cgroup/"
    write_files(tmp_path, {
        "proc/self/cgroup": "0::/box/inner\n", top + "box/memory.max": "1000000\n",
        top + "box/memory.current": "700000\n",
        top + "box/memory.stat": "anon 1\nfile 2\ninactive_file 50000\nactive_file 3\n",
        top + "box/inner/memory.max": "max\n", top + "box/inner/memory.current": "600000\n",
    })  # fmt: skip
    assert measure_free_memory(tmp_path) == 350_000


def test_limit_of_version_1_is_found_if_the_path_is_that_of_the_host(tmp_path: Path) -> None:
    write_files(tmp_path, {
        "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/abc\n0::/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "500000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "450000\n",
        "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 20000\n",
    })  # fmt: skip
    assert measure_free_memory(tmp_path) == 70_000


def test_no_memory_is_free_above_the_limit(tmp_path: Path) -> None:
    write_files(tmp_path, {
        "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "10\n",
        "sys/fs/cgroup/memory.current": "20\n",
    })  # fmt: skip
    assert measure_free_memory(tmp_path) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports it")
def test_allocated_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocation is a mapping of its own: malloc may return memory that it had before."""
    monkeypatch.undo()
    size = 50 * 2**20
    before = measure_anonymous_memory()
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        block.write(b"1" * size)
        assert 45 * 2**20 < measure_anonymous_memory() - before < 120 * 2**20
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kernel = int(status["RssAnon"].split()[0]) * 1024
    assert abs(measure_anonymous_memory() - kernel) < 8 * 2**20
    assert measure_free_memory() > 0
