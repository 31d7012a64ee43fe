"""How much memory there is: the files of Linux and of its control groups, read as they stand."""

import mmap
import os
import sys
from pathlib import Path

import pytest

from veduta.runtime.memory import anonymous_memory, free_memory


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable:  8000 kB\n"}


def test_without_groups_what_is_available_counts(tmp_path: Path) -> None:
    write(tmp_path, MACHINE)
    assert free_memory(tmp_path) == 8000 * 1024


def test_a_limit_of_version_2_counts_less_what_is_used(tmp_path: Path) -> None:
    """The parent is the tighter one: 1,000,000 - 700,000, of which 50,000 are files at hand."""
    top = "sys/fs/cgroup/"
    write(tmp_path, {
        **MACHINE, "proc/self/cgroup": "0::/box/inner\n", top + "box/memory.max": "1000000\n",
        top + "box/memory.current": "700000\n",
        top + "box/memory.stat": "anon 1\nfile 2\ninactive_file 50000\nactive_file 3\n",
        top + "box/inner/memory.max": "max\n", top + "box/inner/memory.current": "600000\n",
    })  # fmt: skip
    assert free_memory(tmp_path) == 350_000


def test_a_limit_of_version_1_whose_path_is_the_hosts(tmp_path: Path) -> None:
    write(tmp_path, {
        **MACHINE, "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/abc\n0::/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "500000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "450000\n",
        "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 20000\n",
    })  # fmt: skip
    assert free_memory(tmp_path) == 70_000


def test_over_its_limit_nothing_is_free(tmp_path: Path) -> None:
    write(tmp_path, {
        **MACHINE, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "10\n",
        "sys/fs/cgroup/memory.current": "20\n",
    })  # fmt: skip
    assert free_memory(tmp_path) == 0


def test_where_no_file_says_anything_there_is_a_guess(tmp_path: Path) -> None:
    built_in = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert free_memory(tmp_path) == built_in // 2
    assert anonymous_memory(tmp_path) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says it")
def test_what_is_allocated_is_seen() -> None:
    """A mapping of its own: what malloc gives may be memory that it has had before."""
    size = 50 * 2**20
    before = anonymous_memory()
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        block.write(b"1" * size)
        assert 45 * 2**20 < anonymous_memory() - before < 120 * 2**20
    assert free_memory() > 0
